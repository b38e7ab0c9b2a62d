// What the detector reports, and what it doesn't: each bug beside its fix.
import t from 'tap'
import type { FastifyInstance, RouteHandlerMethod } from 'fastify'
import locks from '../../plugins/locks/index.ts'
import { shared } from '../src/index.ts'
import { confirmed, racesOf, turn } from './helper.ts'

/** A cache that is filled only if the generation is still the one from before the load. */
function filledByGeneration (app: FastifyInstance): { cache: Map<string, { sum: number }>, generation: { number: number } } {
  const cache = shared(new Map<string, { sum: number }>(), 'cache')
  const generation = shared({ number: 0 }, 'generation')
  app.get('/', async () => {
    const hit = cache.get('sum')
    if (hit !== undefined) return hit
    const { number } = generation
    const made = { sum: 1 }
    for (let n = 0; n < 4; n++) await turn()
    if (generation.number === number) cache.set('sum', made)
    return made
  })
  return { cache, generation }
}

interface Case {
  bug: (app: FastifyInstance) => void | Promise<void>
  fix: (app: FastifyInstance) => void | Promise<void>
  report: string
  urls?: string[]
}

const cases: Record<string, Case> = {
  'a counter that is read before an await and written after it': {
    report: 'lost update on stats.hits',
    bug (app) {
      const stats = shared({ hits: 0 }, 'stats')
      app.get('/', async () => {
        const { hits } = stats
        await turn()
        stats.hits = hits + 1
        return hits
      })
    },
    fix (app) {
      const stats = shared({ hits: 0 }, 'stats')
      app.get('/', async () => {
        await turn()
        stats.hits++
        return stats.hits
      })
    }
  },
  'a compound assignment with an await on its right': {
    report: 'lost update on stats.sum',
    bug (app) {
      const stats = shared({ sum: 0 }, 'stats')
      const amount = async (): Promise<number> => turn(5)
      app.get('/', async () => { stats.sum += await amount() })
    },
    fix (app) {
      const stats = shared({ sum: 0 }, 'stats')
      const amount = async (): Promise<number> => turn(5)
      app.get('/', async () => {
        const more = await amount()
        stats.sum += more
      })
    }
  },
  'a Map: get, await, set; the fix is a lock': {
    report: 'lost update on visits.get("a")',
    bug (app) {
      const visits = shared(new Map<string, number>(), 'visits')
      app.get('/', async () => {
        const count = visits.get('a') ?? 0
        await turn()
        visits.set('a', count + 1)
      })
    },
    async fix (app) {
      await app.register(locks)
      const visits = shared(new Map<string, number>(), 'visits')
      app.get('/', async () => app.locks.mutex('a').runExclusive(async () => {
        const count = visits.get('a') ?? 0
        await turn()
        visits.set('a', count + 1)
      }))
    }
  },
  'read and write in helpers of their own': {
    report: 'lost update on visits.get("a")',
    bug (app) {
      const visits = shared(new Map<string, number>(), 'visits')
      const load = async (id: string): Promise<number> => {
        const count = visits.get(id)
        await turn()
        return count ?? 0
      }
      const save = async (id: string, count: number): Promise<void> => {
        await turn()
        visits.set(id, count)
      }
      app.get('/', async () => {
        const count = await load('a')
        await save('a', count + 1)
      })
    },
    fix (app) {
      const visits = shared(new Map<string, number>(), 'visits')
      const bump = (id: string): void => { visits.set(id, (visits.get(id) ?? 0) + 1) }
      app.get('/', async () => {
        await turn()
        bump('a')
      })
    }
  },
  'room for one more: the test is stale, the data fresh': {
    report: 'check then act on game.players',
    bug (app) {
      const game = shared({ players: ['x'] }, 'game')
      app.get('/', async (_request, reply) => {
        if (game.players.length >= 2) return reply.code(409).send()
        await turn()
        game.players.push('y')
        return 'joined'
      })
    },
    fix (app) {
      const game = shared({ players: ['x'] }, 'game')
      app.get('/', async (_request, reply) => {
        await turn()
        if (game.players.length >= 2) return reply.code(409).send()
        game.players.push('y')
        return 'joined'
      })
    }
  },
  'an initialisation that two requests make': {
    report: 'check then act on state.client',
    bug (app) {
      const state = shared<{ client?: { id: number } }>({}, 'state')
      let made = 0
      app.get('/', async () => {
        if (state.client === undefined) {
          await turn()
          state.client = { id: ++made }
        }
        return state.client
      })
    },
    async fix (app) {
      await app.register(locks)
      const state = shared<{ client?: { id: number } }>({}, 'state')
      let made = 0
      app.get('/', async () => app.locks.once('client', async () => {
        await turn()
        state.client = { id: ++made }
        return state.client
      }))
    }
  },
  'a value of the request that is kept where requests share it': {
    report: 'overwritten on app.user',
    urls: ['/?user=a', '/?user=b'],
    bug (app) {
      const state = shared<{ user?: string }>({}, 'app')
      app.get<{ Querystring: { user: string } }>('/', async (request) => {
        state.user = request.query.user
        await turn()
        return state.user
      })
    },
    fix (app) {
      app.get<{ Querystring: { user: string } }>('/', async (request) => {
        const { user } = request.query
        await turn()
        return user
      })
    }
  },
  'a value of the request that is kept where requests share it, and cleared at the end': {
    report: 'overwritten on app.user',
    urls: ['/?user=c', '/?user=a&slow', '/?user=b&slow'],
    bug (app) {
      const state = shared<{ user?: string | undefined }>({}, 'app')
      app.addHook('onResponse', async () => { state.user = undefined })
      app.get<{ Querystring: { user: string, slow?: string } }>('/', async ({ query: { user, slow } }) => {
        if (slow === undefined) return 'unread'
        for (let n = 0; n < 6; n++) await turn()
        state.user = user
        await turn()
        return state.user
      })
    },
    fix (app) {
      app.get<{ Querystring: { user: string } }>('/', async ({ query: { user } }) => {
        await turn()
        return user
      })
    }
  },
  'a value of the request that is kept in a session that another request made, and cleared at the end': {
    report: 'overwritten on sessions.get("s").step',
    urls: ['/?step=c', '/?step=a&slow', '/?step=b&slow'],
    bug (app) {
      const sessions = shared(new Map<string, { step?: string | undefined }>(), 'sessions')
      const open = (): { step?: string | undefined } => {
        if (!sessions.has('s')) sessions.set('s', {})
        return sessions.get('s') as { step?: string | undefined }
      }
      app.addHook('onResponse', async () => { open().step = undefined })
      app.get<{ Querystring: { step: string, slow?: string } }>('/', async ({ query: { step, slow } }) => {
        if (slow === undefined) return 'unread'
        for (let n = 0; n < 6; n++) await turn()
        open().step = step
        await turn()
        return open().step
      })
    },
    fix (app) {
      app.get<{ Querystring: { step: string } }>('/', async ({ query: { step } }) => {
        await turn()
        return step
      })
    }
  },
  'a guard in a helper that throws, a write in another': {
    report: 'check then act on coupon.usedBy',
    bug (app) {
      const coupon = shared<{ usedBy: string | null }>({ usedBy: null }, 'coupon')
      const check = (): { usedBy: string | null } => {
        if (coupon.usedBy !== null) throw new Error('used')
        return coupon
      }
      const mark = (checked: { usedBy: string | null }, by: string): void => { checked.usedBy = by }
      app.get('/', async (request) => {
        const checked = check()
        await turn()
        mark(checked, request.id)
      })
    },
    fix (app) {
      const coupon = shared<{ usedBy: string | null }>({ usedBy: null }, 'coupon')
      app.get('/', async (request) => {
        await turn()
        if (coupon.usedBy !== null) throw new Error('used')
        coupon.usedBy = request.id
      })
    }
  },
  'a list that is replaced by a copy of what it was': {
    report: 'lost update on presence.online',
    urls: ['/leave', '/join'],
    bug (app) {
      const presence = shared({ online: ['a', 'b'] }, 'presence')
      app.get('/leave', async () => {
        const rest = presence.online.filter((name) => name !== 'a')
        await turn()
        await turn()
        presence.online = rest
      })
      app.get('/join', async () => presence.online.push('c'))
    },
    fix (app) {
      const presence = shared({ online: ['a', 'b'] }, 'presence')
      app.get('/leave', async () => {
        await turn()
        presence.online = presence.online.filter((name) => name !== 'a')
      })
      app.get('/join', async () => presence.online.push('c'))
    }
  },
  'a wait for a place that is taken before the last await': {
    report: 'check then act on locked.has("room")',
    bug (app) {
      const locked = shared(new Set<string>(), 'locked')
      app.get('/', async () => {
        while (locked.has('room')) await turn()
        await turn()
        locked.add('room')
        await turn()
        locked.delete('room')
      })
    },
    fix (app) {
      const locked = shared(new Set<string>(), 'locked')
      app.get('/', async () => {
        await turn()
        while (locked.has('room')) await turn()
        locked.add('room')
        await turn()
        locked.delete('room')
      })
    }
  },
  'a flag that others are refused for, which all set to the same': {
    report: 'check then act on job.isRunning',
    bug (app) {
      const job = shared({ isRunning: false }, 'job')
      app.get('/', async (_request, reply) => {
        if (job.isRunning) return reply.code(409).send()
        await turn()
        job.isRunning = true
        return 'started'
      })
    },
    fix (app) {
      const job = shared({ isRunning: false }, 'job')
      app.get('/', async (_request, reply) => {
        if (job.isRunning) return reply.code(409).send()
        job.isRunning = true
        await turn()
        return 'started'
      })
    }
  },
  'a time that is noted after the mail that it limits was sent, by two requests in one millisecond': {
    report: 'check then act on mails.last',
    bug (app) {
      const mails = shared({ last: 0 }, 'mails')
      const now = Date.now()
      app.get('/', async () => {
        if (now - mails.last < 60_000) return 'not yet'
        await turn()
        mails.last = now
        return 'sent'
      })
    },
    fix (app) {
      const mails = shared({ last: 0 }, 'mails')
      const now = Date.now()
      app.get('/', async () => {
        if (now - mails.last < 60_000) return 'not yet'
        mails.last = now
        await turn()
        return 'sent'
      })
    }
  },
  'the name of a state, which both set to the same': {
    report: 'check then act on order.status',
    bug (app) {
      const order = shared({ status: 'new' }, 'order')
      app.get('/', async () => {
        if (order.status !== 'new') return 'paid before'
        await turn()
        order.status = 'paid'
        return 'paid'
      })
    },
    fix (app) {
      const order = shared({ status: 'new' }, 'order')
      app.get('/', async () => {
        if (order.status !== 'new') return 'paid before'
        order.status = 'paying'
        await turn()
        order.status = 'paid'
        return 'paid'
      })
    }
  },
  'a flag that says that something else was done': {
    report: 'check then act on order.isPaid',
    bug (app) {
      const order = shared({ isPaid: false }, 'order')
      const till = shared({ sum: 0 }, 'till')
      app.get('/', async () => {
        if (order.isPaid) return 'paid before'
        await turn()
        till.sum += 10
        order.isPaid = true
        return 'paid'
      })
    },
    fix (app) {
      const order = shared({ isPaid: false }, 'order')
      const till = shared({ sum: 0 }, 'till')
      app.get('/', async () => {
        if (order.isPaid) return 'paid before'
        order.isPaid = true
        await turn()
        till.sum += 10
        return 'paid'
      })
    }
  },
  'a mark in a Map, which another request is told of and not refused for': {
    report: 'check then act on used.get("XMAS")',
    bug (app) {
      const used = shared(new Map([['XMAS', false]]), 'used')
      app.get('/', async () => {
        if (used.get('XMAS') === true) return { redeemed: false }
        await turn()
        used.set('XMAS', true)
        return { redeemed: true }
      })
    },
    fix (app) {
      const used = shared(new Map([['XMAS', false]]), 'used')
      app.get('/', async () => {
        if (used.get('XMAS') === true) return { redeemed: false }
        used.set('XMAS', true)
        await turn()
        return { redeemed: true }
      })
    }
  },
  'a number that goes through helpers which await before they read and write': {
    report: 'lost update on rows.a',
    bug (app) {
      const rows = shared<Record<string, number>>({ a: 1 }, 'rows')
      const load = async (key: string): Promise<number | undefined> => {
        await turn()
        return rows[key]
      }
      const store = async (key: string, value: number): Promise<void> => {
        await turn()
        rows[key] = value
      }
      app.get('/', async () => {
        const last = await load('a')
        if (last === undefined) return null
        await store('a', last + 1)
        return last
      })
    },
    fix (app) {
      const rows = shared<Record<string, number>>({ a: 1 }, 'rows')
      const next = async (key: string): Promise<number> => {
        await turn()
        return (rows[key] = (rows[key] ?? 0) + 1)
      }
      app.get('/', async () => next('a'))
    }
  },
  'a batch that is sent, and then taken out with what has come since': {
    report: 'lost update on batch.events',
    urls: ['/send', '/add'],
    bug (app) {
      const batch = shared({ events: ['a'] }, 'batch')
      const send = async (events: readonly string[]): Promise<void> => { for (const event of events) for (let n = 0; n < 3; n++) await turn(event) }
      app.get('/add', async ({ id }) => batch.events.push(id))
      app.get('/send', async () => {
        await send([...batch.events])
        batch.events.length = 0
        return 'sent'
      })
    },
    fix (app) {
      const batch = shared({ events: ['a'] }, 'batch')
      const send = async (events: readonly string[]): Promise<void> => { for (const event of events) for (let n = 0; n < 3; n++) await turn(event) }
      app.get('/add', async ({ id }) => batch.events.push(id))
      app.get('/send', async () => {
        await send(batch.events.splice(0))
        return 'sent'
      })
    }
  },
  'a buffer that a helper sends, under a flag, and then empties': {
    report: 'lost update on log.pending',
    urls: ['/', '/', '/late'],
    bug (app) {
      const log = shared<{ pending: string[], isSending: boolean }>({ pending: [], isSending: false }, 'log')
      const sink = async (lines: readonly string[]): Promise<void> => { for (const line of lines) await turn(line) }
      const ship = async (): Promise<void> => {
        if (log.isSending || log.pending.length < 2) return
        log.isSending = true
        await sink(log.pending.slice())
        log.pending.length = 0
        log.isSending = false
      }
      const add = async (line: string): Promise<void> => {
        log.pending.push(line)
        await ship()
      }
      for (const path of ['/', '/late']) app.get(path, async ({ id }) => { await add(id) })
    },
    fix (app) {
      const log = shared<{ pending: string[], isSending: boolean }>({ pending: [], isSending: false }, 'log')
      const sink = async (lines: readonly string[]): Promise<void> => { for (const line of lines) await turn(line) }
      const ship = async (): Promise<void> => {
        if (log.isSending || log.pending.length < 2) return
        log.isSending = true
        await sink(log.pending.splice(0))
        log.isSending = false
      }
      for (const path of ['/', '/late']) {
        app.get(path, async ({ id }) => {
          log.pending.push(id)
          await ship()
        })
      }
    }
  },
  'a sum that is reported, and then set to nothing': {
    report: 'lost update on stats.hits',
    urls: ['/flush', '/'],
    bug (app) {
      const stats = shared({ hits: 3 }, 'stats')
      const report = async (hits: number): Promise<number> => turn(hits)
      app.get('/', async () => { stats.hits++ })
      app.get('/flush', async () => {
        const { hits } = stats
        await report(hits)
        stats.hits = 0
      })
    },
    fix (app) {
      const stats = shared({ hits: 3 }, 'stats')
      const report = async (hits: number): Promise<number> => turn(hits)
      app.get('/', async () => { stats.hits++ })
      app.get('/flush', async () => {
        const { hits } = stats
        stats.hits = 0
        await report(hits)
      })
    }
  },
  'a result that is cached though it was declared invalid while it was made': {
    report: 'check then act on cache.get("sum")',
    urls: ['/', '/change'],
    bug (app) {
      const cache = shared(new Map<string, { sum: number }>(), 'cache')
      app.get('/', async () => {
        const hit = cache.get('sum')
        if (hit !== undefined) return hit
        let made: { sum: number } | undefined
        for (let n = 0; n < 4; n++) made = await turn({ sum: 1 })
        if (made !== undefined) cache.set('sum', made)
        return made
      })
      app.get('/change', async () => {
        await turn()
        cache.delete('sum')
        return 'changed'
      })
    },
    fix (app) {
      const { cache, generation } = filledByGeneration(app)
      app.get('/change', async () => {
        await turn()
        generation.number++
        cache.delete('sum')
        return 'changed'
      })
    }
  },
  'a price that is cached though it was declared invalid while it was loaded: a number is no mark': {
    report: 'check then act on prices.get("pen")',
    urls: ['/', '/change'],
    bug (app) {
      const prices = shared(new Map<string, number>(), 'prices')
      const load = async (): Promise<number> => { for (let n = 0; n < 4; n++) await turn(); return 5 }
      app.get('/', async () => {
        const cached = prices.get('pen')
        if (cached !== undefined) return cached
        const price = await load()
        prices.set('pen', price)
        return price
      })
      app.get('/change', async () => {
        await turn()
        prices.delete('pen')
        return 'changed'
      })
    },
    fix (app) {
      const prices = shared(new Map<string, number>(), 'prices')
      const loads = shared(new Map<string, Promise<number>>(), 'loads')
      const load = async (): Promise<number> => { for (let n = 0; n < 4; n++) await turn(); return 5 }
      app.get('/', async () => {
        const cached = prices.get('pen')
        if (cached !== undefined) return cached
        const mine = load()
        loads.set('pen', mine)
        const price = await mine
        // Not if somebody has declared the load invalid meanwhile.
        if (loads.get('pen') === mine) prices.set('pen', price)
        return price
      })
      app.get('/change', async () => {
        await turn()
        loads.delete('pen')
        prices.delete('pen')
        return 'changed'
      })
    }
  },
  'a lock that is waited for, and taken only after a further await': {
    report: 'check then act on lock.writing',
    bug (app) {
      const lock = shared({ writing: false, waiting: [] as Array<() => void> }, 'lock')
      app.get('/', async () => {
        while (lock.writing) await new Promise<void>((resolve) => lock.waiting.push(resolve))
        await turn()
        lock.writing = true
        await turn()
        lock.writing = false
        lock.waiting.shift()?.()
        return 'written'
      })
    },
    fix (app) {
      const lock = shared({ writing: false, waiting: [] as Array<() => void> }, 'lock')
      app.get('/', async () => {
        while (lock.writing) await new Promise<void>((resolve) => lock.waiting.push(resolve))
        lock.writing = true
        await turn()
        lock.writing = false
        lock.waiting.shift()?.()
        return 'written'
      })
    }
  },
  'a list that each request empties for itself': {
    report: 'overwritten on trail',
    bug (app) {
      const trail = shared<string[]>([], 'trail')
      app.addHook('onRequest', async ({ id }) => {
        trail.length = 0
        trail.push(id)
      })
      app.get('/', async () => {
        await turn()
        return trail.join()
      })
    },
    fix (app) {
      const trails = shared(new WeakMap<object, string[]>(), 'trails')
      app.addHook('onRequest', async (request) => { trails.set(request, [request.id]) })
      app.get('/', async (request) => {
        await turn()
        return trails.get(request)?.join()
      })
    }
  },
  'a hook that refuses, and a handler that writes': {
    report: 'check then act on users.get("ada")',
    bug (app) {
      const users = shared(new Map<string, { id: string }>(), 'users')
      app.get('/', { preHandler: async (_request, reply) => { if (users.has('ada')) return reply.code(409).send() } }, async ({ id }) => {
        await turn()
        users.set('ada', { id })
        return 'registered'
      })
    },
    fix (app) {
      const users = shared(new Map<string, { id: string }>(), 'users')
      app.get('/', async ({ id }, reply) => {
        await turn()
        if (users.has('ada')) return reply.code(409).send()
        users.set('ada', { id })
        return 'registered'
      })
    }
  },
  'a room that is deleted since nobody was in it': {
    report: 'check then act on rooms.get("a")',
    urls: ['/leave', '/join'],
    bug (app) {
      const rooms = shared(new Map([['a', { members: new Set(['ada']) }]]), 'rooms')
      app.get('/leave', async () => {
        const room = rooms.get('a')
        room?.members.delete('ada')
        if (room?.members.size === 0) {
          await turn()
          await turn()
          rooms.delete('a')
        }
      })
      app.get('/join', async () => { rooms.get('a')?.members.add('bob') })
    },
    fix (app) {
      const rooms = shared(new Map([['a', { members: new Set(['ada']) }]]), 'rooms')
      app.get('/leave', async () => {
        const room = rooms.get('a')
        room?.members.delete('ada')
        await turn()
        await turn()
        if (room?.members.size === 0) rooms.delete('a')
      })
      app.get('/join', async () => { rooms.get('a')?.members.add('bob') })
    }
  },
  'a mark of who was first, which is told': {
    report: 'check then act on seen.has("ada")',
    bug (app) {
      const seen = shared(new Set<string>(), 'seen')
      app.get('/', async () => {
        const isNew = !seen.has('ada')
        await turn()
        if (isNew) seen.add('ada')
        return { isNew }
      })
    },
    fix (app) {
      const seen = shared(new Set<string>(), 'seen')
      app.get('/', async () => {
        await turn()
        const isNew = !seen.has('ada')
        if (isNew) seen.add('ada')
        return { isNew }
      })
    }
  },
  'a mark of what was sent, beside the list of what was sent': {
    report: 'check then act on sent.has("ada")',
    bug (app) {
      const sent = shared(new Set<string>(), 'sent')
      const outbox = shared<string[]>([], 'outbox')
      const send = async (to: string): Promise<void> => {
        outbox.push(to)
        await turn()
      }
      app.get('/', async () => {
        if (!sent.has('ada')) {
          await send('ada')
          sent.add('ada')
        }
        return 'ok'
      })
    },
    fix (app) {
      const sent = shared(new Set<string>(), 'sent')
      const outbox = shared<string[]>([], 'outbox')
      app.get('/', async () => {
        if (!sent.has('ada')) {
          sent.add('ada')
          outbox.push('ada')
          await turn()
        }
        return 'ok'
      })
    }
  },
  'a token that is good for one use, and is deleted after the use': {
    report: 'check then act on tokens.get("t")',
    bug (app) {
      const tokens = shared(new Map([['t', 'ada']]), 'tokens')
      app.get('/', async () => {
        const user = tokens.get('t')
        if (user === undefined) return { ok: false, user: null }
        await turn()
        tokens.delete('t')
        return { ok: true, user }
      })
    },
    fix (app) {
      const tokens = shared(new Map([['t', 'ada']]), 'tokens')
      app.get('/', async () => {
        const user = tokens.get('t')
        if (user === undefined) return { ok: false, user: null }
        tokens.delete('t')
        await turn()
        return { ok: true, user }
      })
    }
  },
  'a stock that is tested before an await, and lowered after it': {
    report: 'check then act on stock.left',
    bug (app) {
      const stock = shared({ left: 5 }, 'stock')
      app.get('/', async () => {
        if (stock.left === 0) return 'none'
        await turn()
        stock.left -= 1
        return 'sold'
      })
    },
    fix (app) {
      const stock = shared({ left: 5 }, 'stock')
      app.get('/', async () => {
        await turn()
        if (stock.left === 0) return 'none'
        stock.left -= 1
        return 'sold'
      })
    }
  },
  'a free slot that is searched, and taken after an await': {
    report: 'check then act on slots[0]',
    bug (app) {
      const slots = shared<Array<string | null>>([null, null], 'slots')
      app.get('/', async ({ id }) => {
        const index = slots.indexOf(null)
        await turn()
        slots[index] = id
        return index
      })
    },
    fix (app) {
      const slots = shared<Array<string | null>>([null, null], 'slots')
      app.get('/', async ({ id }) => {
        await turn()
        const index = slots.indexOf(null)
        slots[index] = id
        return index
      })
    }
  },
  'an entry of a Map that is found by a walk': {
    report: 'lost update on seats.get("a")',
    bug (app) {
      const seats = shared(new Map<string, string | null>([['a', null], ['b', null]]), 'seats')
      app.get('/', async ({ id }, reply) => {
        for (const [seat, guest] of seats) {
          if (guest !== null) continue
          await turn()
          seats.set(seat, id)
          return seat
        }
        return reply.code(409).send()
      })
    },
    fix (app) {
      const seats = shared(new Map<string, string | null>([['a', null], ['b', null]]), 'seats')
      app.get('/', async ({ id }, reply) => {
        for (const [seat, guest] of seats) {
          if (guest !== null) continue
          seats.set(seat, id)
          await turn()
          return seat
        }
        return reply.code(409).send()
      })
    }
  },
  'a WeakMap': {
    report: 'lost update on quotas.get(an object)',
    bug (app) {
      const account = {}
      const quotas = shared(new WeakMap([[account, 10]]), 'quotas')
      app.get('/', async () => {
        const left = quotas.get(account) ?? 0
        await turn()
        quotas.set(account, left - 1)
      })
    },
    fix (app) {
      const account = {}
      const quotas = shared(new WeakMap([[account, 10]]), 'quotas')
      app.get('/', async () => {
        await turn()
        quotas.set(account, (quotas.get(account) ?? 0) - 1)
      })
    }
  },
  'a value that goes through methods that are awaited': {
    report: 'lost update on file.members',
    bug (app) {
      const file = shared({ members: ['x'] }, 'file')
      const read = (): string[] => [...file.members]
      const write = async (members: string[]): Promise<void> => {
        await turn()
        file.members = members
      }
      const add = async (member: string): Promise<void> => {
        const members = read()
        members.push(member)
        await write(members)
      }
      app.get('/', async ({ id }) => { await add(id) })
    },
    fix (app) {
      const file = shared({ members: ['x'] }, 'file')
      const write = async (member: string): Promise<void> => {
        await turn()
        file.members = [...file.members, member]
      }
      app.get('/', async ({ id }) => { await write(id) })
    }
  },
  'an array that is shifted while it is iterated': {
    report: 'iteration on queue',
    urls: ['/walk', '/shift'],
    bug (app) {
      const queue = shared([1, 2, 3, 4], 'queue')
      app.get('/walk', async () => { for (const item of queue) await turn(item) })
      app.get('/shift', async () => queue.shift())
    },
    fix (app) {
      const queue = shared([1, 2, 3, 4], 'queue')
      app.get('/walk', async () => { for (const item of [...queue]) await turn(item) })
      app.get('/shift', async () => queue.shift())
    }
  },
  'a place that a loop looks for and refuses at the first match, taken after an await': {
    report: 'check then act on bookings',
    bug (app) {
      const bookings = shared<Array<{ from: number, to: number }>>([], 'bookings')
      app.get('/', async (_request, reply) => {
        for (const { from, to } of bookings) {
          if (from < 3 && to > 1) return reply.code(409).send()
        }
        await turn()
        bookings.push({ from: 1, to: 3 })
        return 'booked'
      })
    },
    fix (app) {
      const bookings = shared<Array<{ from: number, to: number }>>([], 'bookings')
      app.get('/', async (_request, reply) => {
        await turn()
        for (const { from, to } of bookings) {
          if (from < 3 && to > 1) return reply.code(409).send()
        }
        bookings.push({ from: 1, to: 3 })
        return 'booked'
      })
    }
  },
  'a name that a loop by index looks for and throws at, taken after an await': {
    report: 'check then act on names',
    bug (app) {
      const names = shared<string[]>([], 'names')
      app.get('/', async () => {
        for (let n = 0; n < names.length; n++) if (names[n] === 'ada') throw new Error('taken')
        await turn()
        names.push('ada')
        return 'taken'
      })
    },
    fix (app) {
      const names = shared<string[]>([], 'names')
      app.get('/', async () => {
        for (let n = 0; n < names.length; n++) if (names[n] === 'ada') throw new Error('taken')
        names.push('ada')
        return turn('taken')
      })
    }
  },
  'a name that is compared with -1, and taken in a callback': {
    report: 'check then act on names',
    bug (app) {
      const names = shared<string[]>([], 'names')
      app.get('/', (_request, reply) => {
        if (names.indexOf('ada') !== -1) return reply.code(409).send()
        setImmediate(() => {
          names.push('ada')
          reply.send('taken')
        })
      })
    },
    fix (app) {
      const names = shared<string[]>([], 'names')
      app.get('/', (_request, reply) => {
        setImmediate(() => {
          const isTaken = names.indexOf('ada') !== -1
          if (!isTaken) names.push('ada')
          reply.code(isTaken ? 409 : 200).send()
        })
      })
    }
  },
  'a fill in a callback, whose generation is compared before the load': {
    report: 'check then act on cache.get("sum")',
    urls: ['/', '/other'],
    bug (app) {
      const cache = shared(new Map<string, { sum: number }>(), 'cache')
      const generation = shared({ number: 0 }, 'generation')
      const route = (sum: number): RouteHandlerMethod => (_request, reply) => {
        const { number } = generation
        if (cache.has('sum') || generation.number !== number) return reply.send(cache.get('sum'))
        if (cache.get('sum') !== undefined) return reply.send('filled')
        setImmediate(() => {
          cache.set('sum', { sum })
          reply.send('made')
        })
      }
      app.get('/', route(1))
      app.get('/other', route(2))
    },
    fix (app) {
      const cache = shared(new Map<string, { sum: number }>(), 'cache')
      const generation = shared({ number: 0 }, 'generation')
      const route = (sum: number): RouteHandlerMethod => (_request, reply) => {
        const { number } = generation
        if (cache.get('sum') !== undefined) return reply.send('filled')
        setImmediate(() => {
          if (generation.number === number) {
            generation.number++
            cache.set('sum', { sum })
          }
          reply.send('made')
        })
      }
      app.get('/', route(1))
      app.get('/other', route(2))
    }
  },
  'a payment that two requests make': {
    report: 'check then act on paid.has("order")',
    bug (app) {
      const paid = shared(new Set<string>(), 'paid')
      app.get('/', async () => {
        if (paid.has('order')) return 'paid before'
        await turn()
        paid.add('order')
        return 'paid'
      })
    },
    fix (app) {
      const paid = shared(new Set<string>(), 'paid')
      app.get('/', async () => {
        if (paid.has('order')) return 'paid before'
        paid.add('order')
        await turn()
        return 'paid'
      })
    }
  }
}

for (const [name, { bug, fix, report, urls }] of Object.entries(cases)) {
  t.test(name, async (t) => {
    t.ok(confirmed(await racesOf(bug, urls)).includes(report), 'the bug is reported')
    t.strictSame(confirmed(await racesOf(fix, urls)), [], 'the fix is silent')
  })
}

const clean: Record<string, (app: FastifyInstance) => void> = {
  'a retry loop with a version check' (app) {
    const row = shared({ version: 0, value: 0 }, 'row')
    app.get('/', async () => {
      for (;;) {
        const { version, value } = row
        await turn()
        if (row.version !== version) continue
        row.version = version + 1
        row.value = value + 1
        return row.value
      }
    })
  },
  'a fill that two requests make with the same' (app) {
    const cache = shared(new Map<string, { name: string }>(), 'cache')
    const load = async (): Promise<{ name: string }> => turn({ name: 'a' })
    app.get('/', async () => {
      let entry = cache.get('a')
      if (entry === undefined) cache.set('a', entry = await load())
      return entry
    })
  },
  'a log that is only appended to' (app) {
    const log = shared<string[]>([], 'log')
    app.get('/', async (request) => {
      const before = log.length
      request.log.info({ before })
      await turn()
      log.push(request.id)
      return 'ok'
    })
  },
  'a gauge of what is under way' (app) {
    const stats = shared({ active: 0, last: '' }, 'stats')
    app.get('/', async (request) => {
      stats.active++
      await turn()
      stats.active--
      stats.last = request.id
      return 'ok'
    })
  },
  'a guard that is set before the await' (app) {
    const state = shared({ busy: false }, 'state')
    app.get('/', async (_request, reply) => {
      if (state.busy) return reply.code(409).send()
      state.busy = true
      try {
        return await turn('done')
      } finally {
        state.busy = false
      }
    })
  },
  'a value that is read for the answer only' (app) {
    const config = shared({ level: 1 }, 'config')
    app.get('/', async () => {
      const { level } = config
      await turn()
      config.level = 7
      return level
    })
  },
  'a value that is read again after the await' (app) {
    const budget = shared({ left: 5 }, 'budget')
    app.get('/', async (_request, reply) => {
      if (budget.left < 2) return reply.code(402).send()
      await turn()
      const { left } = budget
      if (left < 2) return reply.code(402).send()
      budget.left = left - 2
      return left
    })
  },
  'a place that is taken at once, and given back' (app) {
    const event = shared({ left: 2 }, 'event')
    app.get('/', async (_request, reply) => {
      if (event.left === 0) return reply.code(409).send()
      event.left--
      await turn()
      event.left++
      return 'given back'
    })
  },
  'a cache whose entries expire, filled with the same a moment apart' (app) {
    const cache = shared(new Map<string, { name: string, until: number }>(), 'cache')
    let loads = 0
    app.get('/', async () => {
      let entry = cache.get('a')
      if (entry === undefined) {
        await turn()
        cache.set('a', entry = { name: 'Ada', until: Date.now() + 60_000 + ++loads })
      }
      return entry.name
    })
  },
  'what a request writes twice where no other does' (app) {
    const steps = shared(new Map<string, number>(), 'steps')
    app.get('/', async ({ id }) => {
      const before = steps.get(id) ?? 0
      await turn()
      steps.set(id, before + 1)
      await turn()
      steps.set(id, before + 2)
    })
  },
  'a value of the request that is the same for all' (app) {
    const state = shared<{ locale?: string }>({}, 'app')
    app.get('/', async () => {
      state.locale = 'en'
      await turn()
      return state.locale
    })
  },
  'an amount that is reserved with the test' (app) {
    const account = shared({ balance: 100, reserved: 0 }, 'account')
    app.get('/', async (_request, reply) => {
      if (account.balance - account.reserved < 10) return reply.code(402).send()
      account.reserved += 10
      await turn()
      account.balance -= 10
      account.reserved -= 10
      return 'paid'
    })
  },
  'a copy that is loaded again by the same code, and goes through the request' (app) {
    const sessions = shared(new Map([['a', { n: 0, seen: 0 }]]), 'sessions')
    const load = (): string => JSON.stringify(sessions.get('a'))
    app.addHook('onRequest', async ({ headers }) => { headers['x-session'] = load() })
    app.addHook('preHandler', async ({ headers }) => {
      await turn()
      headers['x-session'] = load()
    })
    app.get('/', async ({ headers }) => { sessions.set('a', { n: 1, seen: (JSON.parse(String(headers['x-session'])) as { seen: number }).seen + 1 }) })
  },
  'a text that several requests fill in' (app) {
    const page = shared<{ template?: string }>({}, 'page')
    app.get('/', async () => {
      if (page.template === undefined) {
        await turn()
        page.template = '<b>%s</b>'
      }
      return page.template
    })
  },
  'a breaker that opens when a call fails' (app) {
    const breaker = shared({ isOpen: false, isDown: false }, 'breaker')
    const call = async (): Promise<never> => {
      await turn()
      throw new Error('away')
    }
    app.get('/', async (_request, reply) => {
      if (breaker.isOpen || breaker.isDown) throw new Error('open')
      try {
        return await call()
      } catch {
        breaker.isOpen = true
        return reply.code(502).send()
      }
    })
  },
  'a probe that marks a service as down' (app) {
    const service = shared({ isDown: false }, 'service')
    app.get('/', async (_request, reply) => {
      if (service.isDown) return reply.code(503).send()
      const isUp = await turn(false)
      if (!isUp) service.isDown = true
      return 'probed'
    })
  },
  'a flag that several requests set after the same harmless work' (app) {
    const status = shared({ warm: false }, 'status')
    app.get('/', async () => {
      if (status.warm) return 'warm'
      await turn()
      status.warm = true
      return 'warm'
    })
  },
  'members of a Set that two requests add after the same harmless work' (app) {
    const known = shared(new Set<string>(), 'known')
    const counts = shared({ misses: 0 }, 'counts')
    app.get('/', async () => {
      if (!known.has('a')) {
        counts.misses++
        await turn()
        known.add('a')
      }
      return { known: true }
    })
  },
  'members of a Set that a helper adds once' (app) {
    const known = shared(new Set<string>(), 'known')
    const ensure = async (name: string): Promise<void> => {
      if (known.has(name)) return
      await turn()
      known.add(name)
    }
    app.get('/', async () => {
      await ensure('a')
      return { known: true }
    })
  },
  'members of a Set for which a call has said yes' (app) {
    const allowed = shared(new Set<string>(), 'allowed')
    app.get('/', async (_request, reply) => {
      if (allowed.has('a')) return { from: 'memory' }
      if (await turn(true)) {
        allowed.add('a')
        return { from: 'the call' }
      }
      return reply.code(403).send()
    })
  },
  'a flag beside what was loaded' (app) {
    const state = shared<{ isLoaded: boolean, rates?: { eur: number } }>({ isLoaded: false }, 'state')
    app.get('/', async () => {
      if (!state.isLoaded) {
        state.rates = await turn({ eur: 1 })
        state.isLoaded = true
      }
      return state.rates
    })
  },
  'when it was loaded, beside what was loaded' (app) {
    const state = shared<{ at: number, rates?: { eur: number } }>({ at: 0 }, 'state')
    app.get('/', async () => {
      if (Date.now() - state.at > 60_000) {
        state.rates = await turn({ eur: 1 })
        state.at = Date.now()
      }
      return state.rates
    })
  },
  'an entry of a cache that says when it was loaded' (app) {
    const cache = shared(new Map<string, { value: string, at: number }>(), 'cache')
    let loads = 0
    app.get('/', async () => {
      const hit = cache.get('a')
      if (hit !== undefined && Date.now() - hit.at < 60_000) return { value: hit.value, from: 'cache' }
      const value = await turn('Ada')
      cache.set('a', { value, at: Date.now() + ++loads })
      return { value, from: 'source' }
    })
  },
  'an entry that moves to the end of a Map, and was filled in by others' (app) {
    const entries = shared(new Map<string, string>([['b', 'b']]), 'entries')
    app.get('/', async () => {
      const hit = entries.get('a')
      const value = hit ?? await turn('Ada')
      entries.delete('a')
      entries.set('a', value)
      while (entries.size > 2) entries.delete([...entries.keys()][0] ?? '')
      return value
    })
  },
  'a slot of a semaphore that goes to the next, or is free again' (app) {
    const slots = shared({ free: 1 }, 'slots')
    const queue: Array<() => void> = []
    app.get('/', async () => {
      if (slots.free > 0) slots.free--
      else await new Promise<void>((resolve) => queue.push(resolve))
      try {
        return await turn('done')
      } finally {
        const next = queue.shift()
        if (next !== undefined) next()
        else slots.free++
      }
    })
  },
  'connections that go back to their pool' (app) {
    const pool = shared<{ idle: Array<{ id: number }>, size: number }>({ idle: [], size: 0 }, 'pool')
    const acquire = async (): Promise<{ id: number }> => {
      if (pool.idle.length > 0) return pool.idle.pop() as { id: number }
      const id = ++pool.size
      return await turn({ id })
    }
    app.get('/', async () => {
      const connection = await acquire()
      try {
        return await turn(connection.id)
      } finally {
        pool.idle.push(connection)
      }
    })
  },
  'an entry that is replaced if there is one: the last one wins' (app) {
    const users = shared(new Map([['ada', { name: 'Ada' }]]), 'users')
    app.get('/', async ({ id }, reply) => {
      const user = users.get('ada')
      if (user === undefined) return reply.code(404).send()
      await turn()
      users.set('ada', { name: id })
      return 'renamed'
    })
  },
  'objects with functions, made of the same source' (app) {
    const rules = shared(new Map<string, { country: string, rate: (amount: number) => number }>(), 'rules')
    app.get('/', async () => {
      let rule = rules.get('no')
      if (rule === undefined) {
        const factor = await turn(2)
        rules.set('no', rule = Object.freeze({ country: 'no', rate: (amount: number) => amount * factor }))
      }
      return rule.rate(2)
    })
  },
  'members that are found dead in a copy, and taken out' (app) {
    const members = shared(new Set(['a', 'b', 'c']), 'members')
    app.get('/', async () => {
      for (const member of [...members]) if (!await turn(member !== 'b')) members.delete(member)
      return 'checked'
    })
  },
  'a list of links that a function prepends to, before and after an await' (app) {
    interface Link { v: string, next: Link | null }
    const list = shared<{ head: Link | null }>({ head: null }, 'list')
    const add = (v: string): void => { list.head = { v, next: list.head } }
    app.get('/', async ({ id }) => {
      add(id)
      await turn()
      let n = 0
      for (let link = list.head; link !== null; link = link.next) n++
      add('x')
      return n > 0
    })
  },
  'an entry that is read, or loaded, and then stored' (app) {
    const zones = shared(new Map<string, string>(), 'zones')
    app.get('/', async () => {
      const zone = zones.get('a') ?? await turn('Z1')
      zones.set('a', zone)
      return zone
    })
  },
  'a promise in flight that who started it takes away' (app) {
    const inFlight = shared(new Map<string, Promise<string>>(), 'inFlight')
    app.get('/', async () => {
      const known = inFlight.get('a')
      if (known !== undefined) return known
      const mine = turn('loaded').finally(() => { if (inFlight.get('a') === mine) inFlight.delete('a') })
      inFlight.set('a', mine)
      return mine
    })
  },
  'members that are taken out of a Set after the same harmless work' (app) {
    const dirty = shared(new Set(['a']), 'dirty')
    app.get('/', async () => {
      if (dirty.has('a')) {
        await turn()
        dirty.delete('a')
      }
      return 'clean'
    })
  },
  'a list that all add to and one reads' (app) {
    const notes = shared<{ texts: string[] }>({ texts: [] }, 'notes')
    app.get('/', async (request) => {
      notes.texts.push(request.id)
      await turn()
      return JSON.stringify(notes.texts)
    })
  },
  'a cache whose last writer may win' (app) {
    const cache = shared({ at: 0 }, 'cache', { lww: true })
    app.get('/', async () => {
      const { at } = cache
      await turn()
      cache.at = at + 1
    })
  },
  'a list whose last writer may win, shifted while it is iterated' (app) {
    const queue = shared([1, 2, 3, 4, 5, 6, 7, 8, 9], 'queue', { lww: true })
    app.get('/', async () => {
      for (const item of queue) await turn(item)
      queue.shift()
    })
  }
}

for (const [name, build] of Object.entries(clean)) {
  t.test(`silent: ${name}`, async (t) => {
    t.strictSame(confirmed(await racesOf(build, ['/', '/', '/'])), [])
  })
}

t.test('silent: a value that another request has changed, and changed back', async (t) => {
  t.strictSame(confirmed(await racesOf((app) => {
    const tank = shared({ level: 1 }, 'tank')
    app.get('/slow', async () => {
      const { level } = tank
      for (let n = 0; n < 6; n++) await turn()
      tank.level = level + 1
    })
    app.get('/blip', async () => {
      await turn()
      tank.level = 5
      await turn()
      tank.level = 1
    })
  }, ['/slow', '/blip'])), [])
})

t.test('silent: a request that shifts the array over which it iterates itself', async (t) => {
  t.strictSame(confirmed(await racesOf((app) => {
    const queue = shared([1, 2, 3, 4], 'queue')
    app.get('/', async () => {
      for (const item of queue) {
        await turn(item)
        queue.pop()
      }
    })
  }, ['/'])), [])
})

const generations = (app: FastifyInstance): void => {
  const entries = shared(new Map<string, { value: number }>(), 'entries')
  const numbers = shared(new Map<string, number>(), 'numbers')
  let loads = 0
  const fill = (key: string, number: number, value: number): void => {
    if (number !== (numbers.get(key) ?? 0)) return
    entries.set(key, { value })
  }
  app.get('/', async () => {
    const hit = entries.get('a')
    if (hit !== undefined) return hit
    const number = numbers.get('a') ?? 0
    const value = ++loads
    await turn()
    fill('a', number, value)
    return value
  })
}

const several: Record<string, { urls: string[], build: (app: FastifyInstance) => void }> = {
  'a fill with another value, if the generation is still the one from before': { urls: ['/', '/'], build: generations },
  'a fill that rests on another test since, after somebody deleted what was not there': {
    urls: ['/', '/sweep'],
    build (app) {
      const { cache } = filledByGeneration(app)
      app.get('/sweep', async () => {
        await turn()
        return cache.delete('sum')
      })
    }
  },
  'a place that another request took and gave back meanwhile': {
    urls: ['/late', '/brief'],
    build (app) {
      const holders = shared(new Map<string, { by: string }>(), 'holders')
      app.get('/late', async ({ id }) => {
        if (holders.get('a') !== undefined) return 'taken'
        for (let n = 0; n < 6; n++) await turn()
        holders.set('a', { by: id })
        return 'mine'
      })
      app.get('/brief', async ({ id }) => {
        await turn()
        holders.set('a', { by: id })
        await turn()
        holders.delete('a')
        return 'was mine'
      })
    }
  },
  'a list that is read again in the turn in which it is emptied': {
    urls: ['/send', '/add'],
    build (app) {
      const batch = shared({ events: ['a'] }, 'batch')
      const send = async (events: readonly string[]): Promise<void> => { for (const event of events) for (let n = 0; n < 3; n++) await turn(event) }
      app.get('/add', async ({ id }) => batch.events.push(id))
      app.get('/send', async () => {
        await send([...batch.events])
        const late = batch.events.slice(1)
        batch.events.length = 0
        await send(late)
        return 'sent'
      })
    }
  },
  'a list that is emptied, and was read for the log only': {
    urls: ['/reset', '/add'],
    build (app) {
      const batch = shared({ events: ['a'] }, 'batch')
      app.get('/add', async ({ id }) => batch.events.push(id))
      app.get('/reset', async ({ log }) => {
        log.info([...batch.events])
        for (let n = 0; n < 3; n++) await turn()
        batch.events.length = 0
        return 'none'
      })
    }
  },
  'members that know their index in a dense array, where the last one takes the place of one that leaves': {
    urls: ['/early', '/late'],
    build (app) {
      interface Member { index: number }
      const members = shared<Member[]>([], 'members')
      const add = (): Member => {
        const member = members[members.push({ index: -1 }) - 1] as Member
        member.index = members.length - 1
        return member
      }
      const remove = (member: Member): void => {
        const last = members.pop() as Member
        const { index } = member
        if (index === members.length) return
        members[index] = last
        const moved = members[index] as Member
        moved.index = index
      }
      app.get('/early', async () => {
        const [first] = [add(), add()]
        for (let n = 0; n < 4; n++) await turn()
        remove(first)
      })
      app.get('/late', async () => {
        const [first, second] = [add(), add()]
        await turn()
        remove(first)
        for (let n = 0; n < 6; n++) await turn()
        remove(second)
      })
    }
  },
  'members of a heap whose index one helper writes for all who join, leave and are moved': {
    urls: ['/low', '/high'],
    build (app) {
      interface Member { rank: number, index: number }
      const heap = shared<Member[]>([], 'heap')
      const place = (member: Member, index: number): void => {
        heap[index] = member
        const placed = heap[index] as Member
        placed.index = index
      }
      const add = (rank: number): Member => {
        let index = heap.push({ rank, index: -1 }) - 1
        const member = heap[index] as Member
        for (let parent = (index - 1) >> 1; index > 0 && (heap[parent] as Member).rank < rank; parent = (index - 1) >> 1) {
          place(heap[parent] as Member, index)
          index = parent
        }
        place(member, index)
        return member
      }
      app.get('/low', async () => {
        const { index, ...member } = add(1)
        await turn()
        return { was: index, is: heap.find(({ rank }) => rank === member.rank)?.index }
      })
      app.get('/high', async () => { add(2) })
    }
  },
  'a pool that counts what it opens in the test of its size, after a look for what is idle': {
    urls: ['/', '/', '/'],
    build (app) {
      const pool = shared({ connections: [] as Array<{ isBusy: boolean }>, pending: 0 }, 'pool')
      app.get('/', async () => {
        if (pool.connections.some(({ isBusy }) => !isBusy)) return 'reused'
        if (pool.connections.length + pool.pending >= 3) return 'full'
        pool.pending++
        await turn()
        pool.connections.push({ isBusy: true })
        pool.pending--
        return 'opened'
      })
    }
  }
}

/** How the release of a lock wakes those who wait. */
const releases: Record<string, (lock: { waiting: Waiting[] }) => void> = {
  'that replaces its queue' (lock) {
    const woken = lock.waiting
    lock.waiting = []
    for (const { wake } of woken) wake()
  },
  'that empties its queue' (lock) { for (const { wake } of lock.waiting.splice(0)) wake() },
  'that sets the length of its queue' (lock) {
    const woken = [...lock.waiting]
    lock.waiting.length = 0
    for (const { wake } of woken) wake()
  },
  'that takes one after the other from its queue' (lock) { while (lock.waiting.length > 0) lock.waiting.shift()?.wake() },
  'that leaves others in its queue' (lock) {
    const writer = lock.waiting.find(({ kind }) => kind === 'writer')
    const woken = writer === undefined ? lock.waiting : [writer]
    lock.waiting = lock.waiting.filter((each) => !woken.includes(each))
    for (const { wake } of woken) wake()
  }
}

interface Waiting { kind: 'reader' | 'writer', wake: () => void }

for (const [release, wake] of Object.entries(releases)) {
  several[`a readers-writer lock, written by hand, ${release}`] = {
    urls: Array.from({ length: 24 }, (_, n) => n % 3 === 0 ? '/write' : '/read'),
    build (app) {
      const lock = shared({ readers: 0, writing: false, waiting: [] as Waiting[] }, 'lock')
      const state = shared({ value: 0 }, 'state')
      const wait = async (kind: Waiting['kind']): Promise<void> => new Promise((resolve) => lock.waiting.push({ kind, wake: resolve }))
      app.get('/read', async () => {
        while (lock.writing || lock.waiting.some(({ kind }) => kind === 'writer')) await wait('reader')
        lock.readers++
        const { value } = state
        for (let turns = 0; turns <= value % 3; turns++) await turn()
        lock.readers--
        wake(lock)
        return value
      })
      app.get('/write', async () => {
        while (lock.writing || lock.readers > 0) await wait('writer')
        lock.writing = true
        const { value } = state
        await turn()
        state.value = value + 1
        lock.writing = false
        wake(lock)
        return value
      })
    }
  }
}

for (const [name, { urls, build }] of Object.entries(several)) {
  t.test(`silent: ${name}`, async (t) => {
    t.strictSame(confirmed(await racesOf(build, urls)), [])
  })
}

t.test('silent: an iterator that another request goes on with', async (t) => {
  t.strictSame(confirmed(await racesOf((app) => {
    const queue = shared([1, 2, 3, 4], 'queue')
    const rest = { iterator: undefined as Iterator<number> | undefined }
    app.get('/begin', async () => {
      rest.iterator = queue[Symbol.iterator]()
      rest.iterator.next()
      await turn()
      queue.shift()
      return 'begun'
    })
    app.get('/on', async () => {
      await turn()
      await turn()
      return rest.iterator?.next()
    })
  }, ['/begin', '/on'])), [])
})
