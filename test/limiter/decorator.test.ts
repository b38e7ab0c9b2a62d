import Fastify, { type FastifyInstance } from 'fastify'
import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import limiter from '../../plugins/limiter/index.ts'
import { refused } from '../../plugins/limiter/channels.ts'
import { MemoryStore } from '../../plugins/limiter/stores/memory-store.ts'
import { Waiters } from '../../plugins/limiter/waiting/waiters.ts'
import { MAX_DURATION } from '../../plugins/shared/options.ts'
import { build, NEVER } from './helper.ts'

const slow = { rate: 0.1, burst: 1, routes: 'named' } as const
/** A token each 20 ms. */
const quick = { rate: 50, burst: 1, routes: 'named' } as const

async function real (t: { teardown (run: () => unknown): void }, policies: object, options: object = {}): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(limiter, { policies: policies as never, ...options })
  await app.ready()
  return app
}

t.test('allow takes what is there', async (t) => {
  const { app, clock } = await build(t, { policies: { out: { rate: 1, burst: 3, routes: 'named' } } })
  const { limiter } = app
  t.same([await limiter.allow('out'), await limiter.allow('out', undefined, 2), await limiter.allow('out')], [true, true, false])
  t.ok(await limiter.allow('out', 'another key', 3))
  clock.time += 1000
  t.ok(await limiter.allow('out'))
})

t.test('peek looks', async (t) => {
  const { app, clock } = await build(t, { policies: { out: { rate: 2, burst: 3, routes: 'named' }, free: { rate: Infinity, burst: 1 } } })
  t.same(await app.limiter.peek('out'), { tokens: 3, burst: 3, wait: 0 })
  await app.limiter.allow('out', undefined, 3)
  t.same(await app.limiter.peek('out'), { tokens: 0, burst: 3, wait: 500 })
  clock.time += 250
  t.same(await app.limiter.peek('out'), { tokens: 0.5, burst: 3, wait: 250 })
  t.same(await app.limiter.peek('free'), { tokens: Infinity, burst: Infinity, wait: 0 })
})

t.test('reserve says how long until it may act, and can be cancelled', async (t) => {
  const { app, clock } = await build(t, { policies: { out: slow } })
  const { limiter } = app
  t.match(await limiter.reserve('out'), { ok: true, delay: 0 })
  const second = await limiter.reserve('out')
  t.match(second, { ok: true, delay: 10_000 })
  t.match(await limiter.reserve('out', undefined, { maxWait: 19_000 }), { ok: false, delay: 20_000 })
  t.match(await limiter.reserve('out', undefined, { maxWait: 20_000 }), { ok: true, delay: 20_000 })
  t.match(await limiter.reserve('out'), { ok: true, delay: 30_000 }, 'waitTimeout is the default')
  const none = await limiter.reserve('out')
  t.match(none, { ok: false, delay: 40_000 })
  await none.cancel()
  const last = await limiter.reserve('out', undefined, { maxWait: 40_000 })
  await last.cancel()
  await last.cancel()
  t.match(await limiter.reserve('out', undefined, { maxWait: 40_000 }), { ok: true, delay: 40_000 }, 'a second cancel gives nothing back')
  clock.time += 10_001
  await second.cancel()
  t.match(await limiter.reserve('out', undefined, { maxWait: 60_000 }), { delay: 39_999 }, 'what has acted gives nothing back')
})

t.test('an address is the same key for code as for requests', async (t) => {
  const { app } = await build(t, { policies: { client: { rate: NEVER, burst: 5, key: 'address' } } })
  await app.inject({ url: '/', remoteAddress: '2001:db8:1:2::1' })
  t.equal((await app.limiter.peek('client', '2001:db8:1:2::ffff')).tokens, 4)
})

t.test('wait: first come, first served, at the rate', async (t) => {
  const app = await real(t, { out: quick })
  const order: number[] = []
  const began = performance.now()
  await Promise.all([0, 1, 2, 3].map(async (number) => { await app.limiter.wait('out'); order.push(number) }))
  const took = performance.now() - began
  t.same(order, [0, 1, 2, 3])
  t.ok(took >= 55, `three waited 60 ms in all: ${took}`)
})

t.test('nobody who waits acts early, by however little: otherwise more would act than burst + rate·t', async (t) => {
  const waiters = new Waiters(10)
  const store = new MemoryStore(performance, 10)
  const charge = { policy: 'p', key: 'k', rate: 1000 / 1.9, burst: 1, cost: 1, onStoreError: 'local' } as const
  const acted: number[] = []
  for (let i = 0; i < 200; i++) {
    t.ok((await waiters.wait(charge, { store, timeout: 1000, maxWaiting: 10, signals: [] })).granted)
    acted.push(performance.now())
  }
  for (let i = 1; i < acted.length; i++) {
    const early = i - 1 - (acted[i]! - acted[0]!) / 1.9
    if (early > 0) t.fail(`number ${i} acted ${early} tokens early`)
  }
  t.equal(acted.length, 200)
})

t.test('the longest wait that a timer can hold doesn\'t end at once', async (t) => {
  // A token comes a second before the wait would end: what is exactly as long may be rounded up, and refused.
  const { app } = await build(t, { policies: { p: { rate: 1000 / (MAX_DURATION - 1_000), burst: 1, routes: 'named' } } })
  await app.limiter.allow('p')
  const waited = app.limiter.wait('p', undefined, { timeout: MAX_DURATION, signal: AbortSignal.timeout(50) })
  await t.rejects(waited, { code: 'FC_ERR_LIMIT_WAIT_ABORTED' })
})

t.test('wait refuses at once what would take too long', async (t) => {
  const app = await real(t, { out: slow, hidden: { ...slow, expose: false } })
  const refusals: unknown[] = []
  const listener = (message: unknown): void => { refusals.push(message) }
  refused.subscribe(listener)
  t.teardown(() => refused.unsubscribe(listener))
  await app.limiter.wait('out')
  await t.rejects(app.limiter.wait('out', undefined, { timeout: 5000 }), { code: 'FC_ERR_LIMITED', statusCode: 429, policy: 'out', retryAfter: 5 })
  t.match(refusals, [{ policy: 'out', retryAfter: 5, late: { wait: Number, timeout: 5000 } }])
  t.ok((await app.limiter.peek('out')).tokens >= 0, 'and takes nothing')
  await app.limiter.wait('hidden')
  await t.rejects(app.limiter.wait('hidden', undefined, { timeout: 0 }), { code: 'FC_ERR_LIMITED', policy: undefined })
})

t.test('an aborted wait gives its tokens back', async (t) => {
  const app = await real(t, { out: slow })
  await app.limiter.wait('out')
  const controller = new AbortController()
  const waiting = app.limiter.wait('out', undefined, { signal: controller.signal })
  t.ok((await app.limiter.peek('out')).tokens < -0.9)
  const reason = new Error('enough')
  controller.abort(reason)
  await t.rejects(waiting, { code: 'FC_ERR_LIMIT_WAIT_ABORTED', statusCode: 499, cause: reason })
  t.ok((await app.limiter.peek('out')).tokens >= 0)
  await t.rejects(app.limiter.wait('out', undefined, { signal: controller.signal }), { code: 'FC_ERR_LIMIT_WAIT_ABORTED', cause: reason })
  t.ok((await app.limiter.peek('out')).tokens >= 0, 'one that is aborted before takes none')
})

const leaving: Record<string, (signals: AbortController[]) => AbortController[]> = {
  'first come, first gone': (all) => all,
  'last come, first gone': (all) => all.toReversed(),
  'in no order': (all) => [...all.filter((_, index) => index % 3 === 1), ...all.filter((_, index) => index % 3 !== 1)]
}
for (const [order, inOrder] of Object.entries(leaving)) {
  t.test(`clients that leave while they wait cost nobody a token: ${order}`, async (t) => {
    const app = await real(t, { out: { rate: 5, burst: 5, routes: 'named' } })
    const { limiter } = app
    await limiter.allow('out', undefined, 5)
    const controllers = Array.from({ length: 50 }, () => new AbortController())
    const waits = controllers.map(({ signal }) => limiter.wait('out', undefined, { signal }))
    for (const controller of inOrder(controllers)) controller.abort()
    for (const result of await Promise.allSettled(waits)) t.match(result, { status: 'rejected', reason: { code: 'FC_ERR_LIMIT_WAIT_ABORTED' } })
    const { wait } = await limiter.peek('out')
    t.ok(wait <= 200, `the next one waits ${wait} ms, as if nobody had waited`)
  })
}

t.test('those who wait behind clients that leave move up, in their order', async (t) => {
  const app = await real(t, { out: { rate: 20, burst: 1, routes: 'named' } })
  const { limiter } = app
  const began = performance.now()
  await limiter.wait('out')
  const left = new AbortController()
  const leaving = Array.from({ length: 80 }, () => limiter.wait('out', undefined, { signal: left.signal }).catch(() => 'left'))
  const order: number[] = []
  const staying = [0, 1, 2].map(async (number) => { await limiter.wait('out'); order.push(number) })
  left.abort()
  await Promise.all(staying)
  const took = performance.now() - began
  t.same(order, [0, 1, 2])
  t.ok(took >= 149 && took < 2_000, `three waited ${took} ms, and 80 places ahead of them were worth 4 s`)
  t.same(new Set(await Promise.all(leaving)), new Set(['left']))
})

t.test('one client that waits and leaves again and again fills the queue against nobody', async (t) => {
  const app = await real(t, { out: { ...slow, rate: 1 } }, { maxWaitingPerKey: 10 })
  const { limiter } = app
  await limiter.wait('out')
  const reserved = []
  for (let round = 0; round < 50; round++) {
    const left = new AbortController()
    const waits = Array.from({ length: 10 }, () => limiter.wait('out', undefined, { signal: left.signal }).catch((error: Error & { code: string }) => error.code))
    // A reservation behind them pins their slots.
    if (round === 0) reserved.push(await limiter.reserve('out'))
    left.abort()
    t.same(new Set(await Promise.all(waits)), new Set(['FC_ERR_LIMIT_WAIT_ABORTED']), 'never FC_ERR_LIMITED')
  }
  t.ok((await limiter.peek('out')).tokens >= -11.5, 'the ten slots of the first round, and what was reserved behind them')
})

t.test('waiters are bounded, in all and per key; who needn\'t wait isn\'t refused', async (t) => {
  const app = await real(t, { out: slow }, { maxWaiting: 3, maxWaitingPerKey: 2 })
  const { limiter } = app
  const bounds: unknown[] = []
  const listener = (message: unknown): void => { bounds.push((message as { waiters: unknown }).waiters) }
  refused.subscribe(listener)
  t.teardown(() => refused.unsubscribe(listener))
  const controller = new AbortController()
  const { signal } = controller
  await Promise.all([limiter.wait('out', 'a'), limiter.wait('out', 'b'), limiter.wait('out', 'c')])
  const waiting = [limiter.wait('out', 'a', { signal }), limiter.wait('out', 'a', { signal })].map((wait) => wait.catch(() => 'aborted'))
  await t.rejects(limiter.wait('out', 'a'), { code: 'FC_ERR_LIMIT_WAITERS_FULL', statusCode: 503, policy: 'out', waiting: 2 })
  waiting.push(limiter.wait('out', 'b', { signal }).catch(() => 'aborted'))
  await t.rejects(limiter.wait('out', 'c'), { code: 'FC_ERR_LIMIT_WAITERS_FULL' })
  await limiter.wait('out', 'd')
  await t.rejects(limiter.wait('out', 'b', { maxWaiting: 0 }), { code: 'FC_ERR_LIMIT_WAITERS_FULL' })
  t.strictSame(bounds, [{ waiting: 2, limit: 2 }, { waiting: 3, limit: 3 }, { waiting: 3, limit: 3 }])
  controller.abort()
  t.same(await Promise.all(waiting), ['aborted', 'aborted', 'aborted'])
  const again = new AbortController()
  const later = limiter.wait('out', 'c', { signal: again.signal })
  again.abort()
  await t.rejects(later, { code: 'FC_ERR_LIMIT_WAIT_ABORTED' }, 'their places are free again')
})

t.test('closing wakes all who wait', async (t) => {
  const app = await real(t, { out: slow })
  await app.limiter.wait('out')
  const waiting = Promise.allSettled([app.limiter.wait('out'), app.limiter.wait('out')])
  await app.close()
  for (const result of await waiting) t.match(result, { status: 'rejected', reason: { code: 'FC_ERR_CLOSING' } })
  await t.rejects(app.limiter.wait('out'), { code: 'FC_ERR_CLOSING' })
})

t.test('inside a request, waiting ends when the client leaves, unless detached', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(limiter, { policies: { out: slow } })
  const ended: Array<Promise<unknown>> = []
  let heard: () => void
  const arrived = new Promise<void>((resolve) => { heard = resolve })
  app.post('/', async (_request, reply) => {
    await app.limiter.wait('out')
    ended.push(app.limiter.wait('out').catch((error: unknown) => error))
    ended.push(app.limiter.wait('out', undefined, { detached: true }).catch((error: unknown) => error))
    heard()
    await ended[0]
    return reply.send('late')
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as { port: number }).port, '127.0.0.1')
  await once(socket, 'connect')
  socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}')
  await arrived
  socket.destroy()
  t.match(await ended[0], { code: 'FC_ERR_LIMIT_WAIT_ABORTED', cause: { name: 'AbortError' } })
  t.ok((await app.limiter.peek('out')).tokens < -0.9, 'the detached one still holds its token')
  await app.close()
  t.match(await ended[1], { code: 'FC_ERR_CLOSING' })
})

t.test('a refusal of wait in a handler is a 429 with Retry-After', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(limiter, { policies: { out: slow } })
  app.get('/', async () => { await app.limiter.wait('out', undefined, { timeout: 0 }); return 'ok' })
  t.equal((await app.inject('/')).statusCode, 200)
  const response = await app.inject('/')
  t.equal(response.statusCode, 429)
  t.equal(response.headers['retry-after'], '10')
})

t.test('bad input', async (t) => {
  const { app } = await build(t, { policies: { out: { rate: 1, burst: 3 } } })
  const { limiter } = app
  await t.rejects(limiter.allow('other'), { code: 'FC_ERR_LIMIT_UNKNOWN', message: 'There is no policy named "other"', known: ['out'] })
  await t.rejects(limiter.wait('__proto__'), { code: 'FC_ERR_LIMIT_UNKNOWN' })
  for (const cost of [0, -1, 1.5, NaN, Infinity, 4, '1' as never]) {
    await t.rejects(limiter.allow('out', 'k', cost), { code: 'FC_ERR_LIMIT_INVALID' }, `cost ${cost}`)
    await t.rejects(limiter.wait('out', 'k', { cost }), { code: 'FC_ERR_LIMIT_INVALID' })
    await t.rejects(limiter.reserve('out', 'k', { cost }), { code: 'FC_ERR_LIMIT_INVALID' })
  }
  await t.rejects(limiter.allow('out', {} as never), { code: 'FC_ERR_LIMIT_INVALID' })
  await t.rejects(limiter.wait('out', 'k', { timeout: -1 }), { code: 'FC_ERR_OPTION_INVALID' })
  await t.rejects(limiter.wait('out', 'k', { timeout: Infinity }), { code: 'FC_ERR_OPTION_INVALID' })
  await t.rejects(limiter.wait('out', 'k', { maxWaiting: 0.5 }), { code: 'FC_ERR_OPTION_INVALID' })
  await t.rejects(limiter.wait('out', 'k', { timeuot: 5 } as never), { code: 'FC_ERR_OPTION_INVALID' })
  await t.rejects(limiter.wait('out', 'k', { signal: null as never }), { code: 'FC_ERR_OPTION_INVALID' })
  for (const signal of ['x', {}, 5]) await t.rejects(limiter.wait('out', 'k', { signal: signal as never }), { code: 'FC_ERR_OPTION_INVALID', message: /^Option "signal": expected an AbortSignal/ })
  await t.rejects(limiter.wait('out', 'k', { detached: 'x' as never }), { code: 'FC_ERR_OPTION_INVALID', message: /"detached"/ })
  await t.rejects(limiter.reserve('out', 'k', { maxWait: NaN }), { code: 'FC_ERR_OPTION_INVALID' })
  t.equal((await limiter.peek('out', 'k')).tokens, 3, 'nothing was taken')
})

t.test('whoever waited leaves no listener and no timer behind', async (t) => {
  const waiters = new Waiters(10)
  const store = new MemoryStore(performance, 10)
  const counted = { added: 0, removed: 0 }
  const controller = new AbortController()
  const { signal } = controller
  const add = signal.addEventListener.bind(signal)
  const remove = signal.removeEventListener.bind(signal)
  signal.addEventListener = (...args: unknown[]) => { counted.added++; add(...args as Parameters<typeof add>) }
  signal.removeEventListener = (...args: unknown[]) => { counted.removed++; remove(...args as Parameters<typeof remove>) }
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  const before = timers()
  const wait = (rate: number) => waiters.wait({ policy: 'p', key: 'k', rate, burst: 1, cost: 1, onStoreError: 'local' }, { store, timeout: 1e8, maxWaiting: 10, signals: [signal] })
  await wait(1000)
  await wait(1000)
  const asleep = wait(0.001)
  controller.abort()
  await t.rejects(asleep, { name: 'AbortError' })
  t.same(counted, { added: 3, removed: 3 })
  t.equal(timers(), before)
  t.equal(waiters.total, 0)
  waiters.close()
  waiters.close()
})
