// explore() with the invariant 'serial': responses and state must be those of the requests one after the other.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { explore, shared } from '../src/index.ts'
import { detector } from '../src/detector.ts'

t.teardown(detector.reports.silence())
const { write } = process.stderr
let printed = ''
process.stderr.write = ((text: string) => { printed += text; return true }) as never
t.teardown(() => { process.stderr.write = write })

/** Two fields that belong together are written apart, and never read before: no rule of the detector can tell. */
function tokens (isRight: boolean): FastifyInstance {
  const session = shared({ token: '', owner: '' }, 'session')
  const app = Fastify() as unknown as FastifyInstance
  app.get('/:name', async (request) => {
    const { name } = request.params as { name: string }
    if (isRight) await sleep(1)
    session.token = `token of ${name}`
    if (!isRight) await sleep(1)
    session.owner = name
    return { id: randomUUID(), at: Date.now() }
  })
  return app
}

t.test('two fields that are written apart', async (t) => {
  await t.rejects(explore(() => tokens(false), { requests: ['/a', '/b'], seeds: 50, invariant: 'serial' }), { code: 'FC_ERR_EXPLORE', message: /no order of the requests .* session is / })
  await t.resolves(explore(() => tokens(true), { requests: ['/a', '/b'], seeds: 50, invariant: 'serial' }), 'ids and times are not compared')
})

t.test('an exploration that compares no state says so once', async (t) => {
  const warnings: string[] = []
  const listener = ({ message }: Error): void => { warnings.push(message) }
  process.on('warning', listener)
  t.teardown(() => process.off('warning', listener))
  const unmarked = (): FastifyInstance => {
    let balance = 2
    const app = Fastify() as unknown as FastifyInstance
    app.get('/', async () => {
      const seen = balance
      await sleep(1)
      balance = seen - 1
      return 'done'
    })
    return app
  }
  await explore(() => tokens(true), { requests: ['/a', '/b'], seeds: 2, invariant: 'serial' })
  t.strictSame(warnings, [], 'state is marked')
  for (let n = 0; n < 2; n++) await explore(unmarked, { requests: ['/', '/'], seeds: 2, invariant: 'serial' })
  await explore(unmarked, { requests: ['/', '/'], seeds: 2, invariant: () => {} })
  await sleep(0)
  t.match(warnings, [/responses only, and at no state: mark .* with shared\(\)/])
  t.equal(warnings.length, 1)
})

t.test('without an invariant, a difference is printed once, and fails nothing', async (t) => {
  printed = ''
  await t.resolves(explore(() => tokens(false), { requests: ['/a', '/b'], seeds: 50 }))
  t.equal(printed.match(/RACE \(possible\): with seed \d+ of explore\(\), no order/g)?.length, 1)
  await t.rejects(explore(() => tokens(false), { requests: ['/a', '/b', '/c', '/d', '/e'], invariant: 'serial' }), { code: 'FC_ERR_OPTION_INVALID', message: /2 to 4 requests/ })
})

t.test('answers that no serial order gives', async (t) => {
  const build = (isRight: boolean) => (): FastifyInstance => {
    const seats = ['1', '2']
    const app = Fastify() as unknown as FastifyInstance
    app.get('/', async () => {
      if (isRight) await sleep(1)
      const [seat] = seats
      if (!isRight) await sleep(1)
      seats.splice(seats.indexOf(seat as string), 1)
      return { seat }
    })
    return app
  }
  await t.rejects(explore(build(false), { requests: ['/', '/'], seeds: 50, invariant: 'serial' }), { code: 'FC_ERR_EXPLORE', message: /the answer to request/ })
  await t.resolves(explore(build(true), { requests: ['/', '/', '/'], seeds: 30, invariant: 'serial' }))
})

/** Resolves to the message of what the invariant 'serial' rejects with. */
async function failureOf (routes: (app: FastifyInstance) => void, requests: string[]): Promise<string | undefined> {
  const build = (): FastifyInstance => {
    const app = Fastify() as unknown as FastifyInstance
    routes(app)
    return app
  }
  return await explore(build, { requests, seeds: 20, invariant: 'serial' }).then(() => undefined, ({ message }: Error) => message)
}

/** Bugs that the detector alone misses, each with a fix. */
const unseen: Record<string, { requests: string[], routes: (app: FastifyInstance, isRight: boolean) => void }> = {
  'an element that is chosen by its place, and filtered out after an await': {
    requests: ['/draw', '/draw'],
    routes (app, isRight) {
      const state = shared({ codes: [{ code: 'a' }, { code: 'b' }] }, 'state')
      app.get('/draw', async () => {
        const [first] = state.codes
        if (isRight) state.codes = state.codes.filter((each) => each !== first)
        await sleep(1)
        if (!isRight) state.codes = state.codes.filter((each) => each !== first)
        return { code: first?.code }
      })
    }
  },
  'a function that loads, and fills a cache whose entry was deleted meanwhile': {
    requests: ['/get', '/put'],
    routes (app, isRight) {
      const rows = { sum: 1 }
      const cache = shared(new Map<string, { sum: number }>(), 'cache')
      async function load (): Promise<void> {
        if (isRight) await sleep(1)
        const row = { ...rows }
        if (!isRight) await sleep(1)
        cache.set('sum', row)
      }
      app.get('/get', async () => {
        if (!cache.has('sum')) await load()
        return 'loaded'
      })
      app.get('/put', async () => {
        rows.sum = 2
        cache.delete('sum')
        return 'put'
      })
    }
  },
  'a subscriber that has left while it subscribed': {
    requests: ['/join', '/leave'],
    routes (app, isRight) {
      const sockets = shared(new Map([['s', {}]]), 'sockets')
      const subscribers = shared<string[]>([], 'subscribers')
      app.get('/join', async (_request, reply) => {
        if (!isRight && !sockets.has('s')) return reply.code(410).send()
        await sleep(1)
        if (isRight && !sockets.has('s')) return reply.code(410).send()
        subscribers.push('s')
        return 'joined'
      })
      app.get('/leave', async () => {
        sockets.delete('s')
        if (subscribers.includes('s')) subscribers.splice(subscribers.indexOf('s'), 1)
        return 'left'
      })
    }
  }
}

for (const [name, { requests, routes }] of Object.entries(unseen)) {
  t.test(name, async (t) => {
    t.match(await failureOf((app) => { routes(app, false) }, requests), /no order of the requests/)
    t.equal(await failureOf((app) => { routes(app, true) }, requests), undefined)
  })
}

t.test('a request that is told to try again may be one that was not sent; any other refusal may not', async (t) => {
  const claiming = (status: number) => (app: FastifyInstance): void => {
    const state = shared({ isBusy: false, done: 0 }, 'state')
    app.get('/', async (_request, reply) => {
      if (state.isBusy) return reply.code(status).send()
      state.isBusy = true
      await sleep(1)
      state.done++
      state.isBusy = false
      return 'done'
    })
  }
  for (const status of [409, 423, 425, 429, 503]) t.equal(await failureOf(claiming(status), ['/', '/']), undefined, String(status))
  for (const status of [200, 401, 404, 500]) t.match(await failureOf(claiming(status), ['/', '/']), /no order of the requests/, String(status))
})

t.test('a request that is told to try again must leave no trace', async (t) => {
  t.match(await failureOf((app) => {
    const state = shared({ isBusy: false, refused: 0 }, 'state')
    app.get('/', async (_request, reply) => {
      if (state.isBusy) {
        state.refused++
        return reply.code(409).send()
      }
      state.isBusy = true
      await sleep(1)
      state.isBusy = false
      return 'done'
    })
  }, ['/', '/']), /no order of the requests .*refused:1/)
})

t.test('what was put in place of another list, and what only one of several requests has made, is no state', async (t) => {
  t.equal(await failureOf((app) => {
    const state = shared({ queue: ['a', 'b'] }, 'state')
    const entries = shared(new Map<string, { owner: string }>(), 'entries')
    app.get('/flush', async () => {
      const sent = [...state.queue]
      await sleep(1)
      state.queue = state.queue.filter((each) => !sent.includes(each))
      return 'flushed'
    })
    app.get('/add', async () => {
      await sleep(1)
      state.queue.push('c')
      entries.set('c', { owner: 'add' })
      entries.get('c')
      return 'added'
    })
  }, ['/flush', '/add']), undefined)
})
