// What applications throw, return and pass, and what nobody would write on purpose.
import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { setImmediate as turn } from 'node:timers/promises'
import tasks, { defineTasks, type TasksOptions } from '../../plugins/tasks/index.ts'
import { assertIdle } from '../../plugins/testing.ts'
import { deferred, logLines, rejection, until, type LogLine } from '../helper.ts'

async function build (t: Test, options: TasksOptions = {}): Promise<{ app: FastifyInstance, lines: LogLine[], unhandled: unknown[] }> {
  const { lines, logger } = logLines()
  const app = Fastify({ logger }) as unknown as FastifyInstance
  const unhandled: unknown[] = []
  const onUnhandled = (error: unknown): void => { unhandled.push(error) }
  process.on('unhandledRejection', onUnhandled)
  t.teardown(async () => {
    await app.close()
    await assertIdle(app)
    process.off('unhandledRejection', onUnhandled)
  })
  await app.register(tasks, options)
  return { app, lines, unhandled }
}

type Enqueue = (name: unknown, payload?: unknown, options?: unknown) => Promise<{ id: string, done: Promise<unknown> }>
const enqueueOf = (app: FastifyInstance): Enqueue => app.tasks.enqueue.bind(app.tasks) as unknown as Enqueue

const sync = { backoff: { base: 0 } }

t.test('retryIf that is an async function is refused: at boot, in a definition, in a call', async (t) => {
  const retryIf = (async () => false) as never
  const refused = { code: 'FC_ERR_OPTION_INVALID', message: /retryIf": expected a function that returns true or false at once, not a promise/ }
  const { app } = await build(t)
  t.throws(() => app.tasks.submit('a', () => {}, { retryIf }), refused)
  for (const options of [{ retryIf }, { tasks: defineTasks({ a: { handler () {}, retryIf } }) }]) {
    const other = Fastify()
    await t.rejects(async () => other.register(tasks, options), refused)
    await other.close()
  }
})

for (const [what, retryIf] of Object.entries({
  'returns a promise of true': () => Promise.resolve(true),
  'returns a promise that rejects': () => Promise.reject(new Error('in retryIf')),
  'returns a thenable': () => ({ then () {} }),
  'returns a thenable function': () => Object.assign(() => {}, { then () {} }),
  throws: () => { throw new Error('in retryIf') },
  'throws null': () => { throw null } // eslint-disable-line no-throw-literal -- what is tested
})) {
  t.test(`retryIf that ${what} means no, and the log has a line about it`, async (t) => {
    const { app, lines, unhandled } = await build(t)
    let calls = 0
    t.match(await rejection(app.tasks.submit('a', () => { throw new Error(`call ${++calls}`) }, { retries: 5, ...sync, retryIf: retryIf as never }).done), { message: 'call 1' })
    await turn()
    await turn()
    t.ok(lines.some(({ level, msg, err }) => level === 50 && msg.startsWith('retryIf has failed') && err !== undefined))
    t.strictSame(unhandled, [])
  })
}

t.test('retries without a delay don\'t starve the event loop, nor do synchronous tasks that submit the next task', async (t) => {
  const { app } = await build(t, { concurrency: 4 })
  let attempts = 0
  const handles: Array<{ cancel (): void }> = []
  for (const [id, fn] of Object.entries({ sync: () => { throw new Error('at once') }, async: async () => { throw new Error('soon') } })) {
    handles.push(app.tasks.submit(id, () => { attempts++; return fn() }, { retries: 50_000, ...sync }))
  }
  await new Promise((resolve) => setTimeout(resolve, 50))
  for (const handle of handles) handle.cancel()
  t.ok(attempts < 1_000, `${attempts} attempts`)
  let chained = 0
  let stop = false
  const next = (): void => { if (!stop) app.tasks.submit(`chain:${++chained}`, next) }
  next()
  await new Promise((resolve) => setTimeout(resolve, 50))
  stop = true
  t.ok(chained > 10)
})

t.test('map() over items that are ready at once doesn\'t starve the event loop', async (t) => {
  const { app } = await build(t)
  const controller = new AbortController()
  const endless = function * (): Generator<number> { for (let i = 0; ; i++) yield i }
  const mapped = app.tasks.group({ signal: controller.signal }).map(endless(), () => undefined)
  setTimeout(() => controller.abort(new Error('enough')), 20)
  t.match(await rejection(mapped), { message: 'enough' })
})

t.test('Retry-After of a refusal is when the first delay is over, if delays hold all places', async (t) => {
  const { app } = await build(t, { concurrency: 2, maxQueue: 2 })
  const handles = [3_600_000, 1_800_000, 7_200_000, 3_600_000].map((delay, i) => app.tasks.submit(`later:${i}`, () => {}, { delay, key: String(i) }))
  t.match(await rejection((async () => app.tasks.submit('a', () => {}))()), { code: 'FC_ERR_TASKS_FULL', retryAfter: 1_800 })
  t.match(await rejection((async () => app.tasks.reserve())()), { retryAfter: 1_800 })
  handles[1]!.cancel()
  const go = deferred()
  app.tasks.submit('short', () => go.promise)
  await turn()
  t.match(await rejection((async () => app.tasks.submit('a', () => {}))()), { retryAfter: 30 }, 'one runs: its place comes free at its deadline')
  go.resolve()
  for (const handle of handles) handle.cancel()
})

t.test('an error never becomes its own cause, however the function wraps the reason of its signal', async (t) => {
  const { app, lines } = await build(t)
  const causes = (error: unknown): unknown[] => {
    const chain: unknown[] = []
    for (let link = error; link instanceof Error && chain.length < 50; link = link.cause) chain.push(link)
    return chain
  }
  const heeding = (wrap: (reason: Error) => unknown) => ({ signal }: { signal: AbortSignal }) =>
    new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(wrap(signal.reason as Error) as Error)))
  const ways: Record<string, (reason: Error) => unknown> = {
    wrapped: (reason) => new Error('stopped', { cause: reason }),
    'wrapped twice': (reason) => new Error('stopped', { cause: new Error('inner', { cause: reason }) }),
    aggregate: (reason) => new AggregateError([reason], 'stopped', { cause: reason }),
    cyclic: () => { const error = new Error('mine'); error.cause = new Error('other', { cause: error }); return error },
    frozen: (reason) => { Object.freeze(reason); return new Error('stopped') },
    'a getter that throws': () => Object.defineProperty(new Error('stopped'), 'cause', { get () { throw new Error('in the getter') } }),
    itself: (reason) => reason,
    null: () => null
  }
  for (const [what, wrap] of Object.entries(ways)) {
    for (const end of ['cancel', 'timeout']) {
      const task = app.tasks.submit(`${what}:${end}`, heeding(wrap), end === 'timeout' ? { timeout: 5 } : {})
      if (end === 'cancel') {
        await until(() => task.status === 'running', 'it runs')
        task.cancel()
      }
      const error = await rejection(task.done)
      t.equal(error['code'], end === 'cancel' ? 'FC_ERR_TASK_ABORTED' : 'FC_ERR_TASK_TIMEOUT', `${what}, ${end}`)
      if (what !== 'cyclic' && what !== 'a getter that throws') t.ok(causes(error).length < 5, `${what}, ${end}`)
    }
  }
  t.equal(lines.filter(({ msg }) => msg === 'task aborted' || msg === 'task failed').length, 2 * Object.keys(ways).length)
})

t.test('an error that can\'t be read fails its task and nothing else', async (t) => {
  const { app, lines, unhandled } = await build(t, { concurrency: 1 })
  const hostile = (): Error => Object.create(Error.prototype, Object.fromEntries(['message', 'stack', 'retryAfter', 'code', 'toJSON']
    .map((name) => [name, { enumerable: true, get () { throw new RangeError('in the getter') } }]))) as Error
  const proxied = new Proxy({}, { getPrototypeOf () { throw new Error('in the trap') }, get () { throw new Error('in the trap') } })
  for (const [id, value] of [['getters', hostile()], ['proxy', proxied], ['symbol', Symbol('x')], ['bare', Object.create(null)]] as const) {
    const task = app.tasks.submit(id, () => { throw value }, { retries: 1, ...sync })
    await task.done.then(() => t.fail('it failed'), () => {})
    t.equal(task.status, 'failed', id)
  }
  t.equal(await app.tasks.submit('next', () => 'served').done, 'served')
  t.equal(lines.filter(({ msg }) => msg === 'task failed').length, 4)
  t.strictSame(unhandled, [])
})

t.test('then() of what a function returns is called once: a lazy query runs once', async (t) => {
  let runs = 0
  const query = (rows: number): PromiseLike<number> => ({
    then: (resolve, reject) => { runs++; return Promise.resolve(rows).then(resolve, reject) }
  })
  const overridden = (): Promise<number> => Object.assign(Promise.resolve(7), { then: () => { throw new Error('a then of its own') } }) as never
  const { app } = await build(t, { tasks: defineTasks({ query: { handler: () => query(1) as Promise<number> } }) })
  const once = async (what: string, result: unknown, expected: unknown): Promise<void> => {
    t.strictSame(await result, expected, what)
    t.equal(runs, 1, what)
    runs = 0
  }
  await once('submit', app.tasks.submit('a', () => query(1)).done, 1)
  await once('enqueue', (await enqueueOf(app)('query')).done, 1)
  const group = app.tasks.group<number>()
  await group.go(() => query(2))
  await once('go', group.wait(), [2])
  await once('map', app.tasks.group().map([1], () => query(3)), [3])
  await once('map over queries', app.tasks.group().map([query(4)], async (each) => each), [4])
  await once('map over queries as they are', app.tasks.group().map([query(5)], (each) => each), [5])
  await once('race', app.tasks.group().race([() => query(6)]), 6)
  t.equal(await app.tasks.submit('overridden', overridden).done, 7)
})

t.test('map: an iterator that answers nothing is an error, never the end of the items', async (t) => {
  const { app } = await build(t)
  const broken = { [Symbol.iterator]: () => ({ next: () => undefined }) }
  t.match(await rejection(app.tasks.group().map(broken as never, (item) => item)), { name: 'TypeError' })
})

t.test('refusals of submit() and reserve() are published, a duplicate as one, and a mistake of the caller is none', async (t) => {
  const { app } = await build(t, { concurrency: 1, maxQueue: 0 })
  const published: string[] = []
  const listener = (message: unknown): void => {
    const { id, reason } = message as { id: string, reason?: string }
    published.push(`${id} ${reason ?? 'duplicate'}`)
  }
  for (const channel of ['fastify-concurrency:tasks:refused', 'fastify-concurrency:tasks:duplicate']) {
    subscribe(channel, listener)
    t.teardown(() => unsubscribe(channel, listener))
  }
  const go = deferred()
  const place = app.tasks.reserve()
  t.equal(place.submit('a', () => go.promise).id, 'a')
  t.throws(() => place.submit('b', () => {}), { code: 'FC_ERR_PLACE_USED' })
  t.throws(() => app.tasks.submit('too many', () => {}), { code: 'FC_ERR_TASKS_FULL' })
  t.throws(() => app.tasks.reserve(), { code: 'FC_ERR_TASKS_FULL' })
  t.throws(() => app.tasks.submit('a', () => {}), { code: 'FC_ERR_TASK_DUPLICATE' })
  go.resolve()
  await app.close()
  t.throws(() => app.tasks.submit('late', () => {}), { code: 'FC_ERR_CLOSING' })
  t.strictSame(published, ['too many full', 'reserved full', 'a duplicate', 'late closing'])
})

t.test('payloads of any shape are refused by code, without holding up the event loop, or arrive as they are', async (t) => {
  const got: unknown[] = []
  const { app } = await build(t, { tasks: defineTasks({ work: { handler: (payload: unknown) => { got.push(payload) } } }) })
  const enqueue = enqueueOf(app)
  let shared: unknown = 'x'
  for (let i = 0; i < 60; i++) shared = [shared, shared]
  let reads = 0
  const payloads: Record<string, unknown> = {
    'a getter that throws': Object.defineProperty({}, 'x', { enumerable: true, get () { throw new Error('in the getter') } }),
    'toJSON that throws': { toJSON () { throw new Error('in toJSON') } },
    'a getter of toJSON that throws': Object.defineProperty({}, 'toJSON', { get () { throw new Error('in the getter') } }),
    'a BigInt': 1n,
    'a cycle': (() => { const cycle: unknown[] = []; cycle.push(cycle); return cycle })(),
    'sixty arrays that are 2 ** 60 values': shared,
    'a proxy': new Proxy({}, { ownKeys () { throw new Error('in the trap') } }),
    'a key of 1 MB': { ['k'.repeat(2 ** 20)]: () => {} }
  }
  for (const [what, payload] of Object.entries(payloads)) {
    const error = await rejection(enqueue('work', payload))
    t.equal(error['code'], 'FC_ERR_TASK_PAYLOAD', what)
    t.ok(error.message.length < 1_000, what)
  }
  const changing = Object.defineProperty({}, 'x', { enumerable: true, get: () => reads++ === 0 ? 1 : 2n })
  await (await enqueue('work', changing)).done
  t.strictSame(got.pop(), { x: 1 }, 'a getter is read once')
  const polluting = JSON.parse('{"__proto__":{"polluted":true},"constructor":1}') as object
  const wide = Array.from({ length: 100_000 }, (_, i) => [i])
  for (const payload of [polluting, wide]) await (await enqueue('work', payload)).done
  t.strictSame(Object.keys(got[0] as object), ['__proto__', 'constructor'])
  t.equal(({} as { polluted?: boolean }).polluted, undefined)
  t.strictSame(got[1], wide)
  for (const name of ['__proto__', 'toString', '', 'x'.repeat(2 ** 20), null, 7, Object.create(null), Symbol('x')]) {
    const error = await rejection(enqueue(name))
    t.equal(error['code'], 'FC_ERR_TASK_UNKNOWN')
    t.ok(error.message.length < 1_000)
  }
})

t.test('a schema that throws, rejects or answers nonsense refuses the payload; one that is asynchronous by $async is refused at boot', async (t) => {
  const results: Record<string, () => unknown> = {
    throws: () => { throw new Error('in the schema') },
    rejects: async () => { throw null }, // eslint-disable-line no-throw-literal -- what is tested
    nothing: () => undefined,
    nonsense: () => ({ issues: [null] }),
    'a long message': () => ({ issues: [{ message: 'x'.repeat(2 ** 20) }] })
  }
  const { app, unhandled } = await build(t, {
    tasks: Object.fromEntries(Object.entries(results).map(([name, validate]) => [name.replaceAll(' ', '-'), { handler: () => {}, schema: { '~standard': { validate } } }]))
  })
  for (const name of Object.keys(results)) {
    const error = await rejection(enqueueOf(app)(name.replaceAll(' ', '-'), 1))
    t.equal(error['code'], 'FC_ERR_TASK_PAYLOAD', name)
    t.ok(error.message.length < 1_000)
  }
  const other = Fastify()
  await t.rejects(async () => other.register(tasks, { tasks: { a: { handler: () => {}, schema: { $async: true, type: 'string' } } } }), { code: 'FC_ERR_OPTION_INVALID' })
  await other.close()
  t.strictSame(unhandled, [])
})

t.test('ids of any shape are distinct', async (t) => {
  const { app } = await build(t)
  const ids = ['__proto__', 'constructor', ':', '::', ':a', 'ä', 'a\u0308', '\ud800', '\0', ' ', 'x'.repeat(256)]
  const results = await Promise.all(ids.map(async (id) => app.tasks.submit(id, ({ name }) => [id, name.length > 0]).done))
  t.strictSame(results, ids.map((id) => [id, true]))
  for (const id of ['', 'x'.repeat(257), null, undefined, 7, Object('a'), Symbol('x')]) t.throws(() => app.tasks.submit(id as never, () => {}), { code: 'FC_ERR_OPTION_INVALID' })
})

t.test('an error whose retryAfter can\'t be waited for is not tried again, or with the usual backoff', async (t) => {
  const { app } = await build(t)
  for (const [retryAfter, attempts] of [[Infinity, 1], [1e300, 1], [NaN, 2], [-Infinity, 2], ['60', 2], [{}, 2]] as const) {
    let calls = 0
    await rejection(app.tasks.submit('a', () => { calls++; throw Object.assign(new Error('x'), { retryAfter }) }, { retries: 1, ...sync }).done)
    t.equal(calls, attempts, String(retryAfter))
  }
  for (const option of [{ delay: NaN }, { delay: Infinity }, { timeout: NaN }, { retries: Infinity }, { backoff: { base: NaN } }, { backoff: { max: Infinity } }]) {
    t.throws(() => app.tasks.submit('a', () => {}, option), { code: 'FC_ERR_OPTION_INVALID' })
  }
})

t.test('100,000 tasks cancelled at once end once each and leave nothing', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(tasks, { concurrency: 10, maxQueue: 200_000 })
  const go = deferred()
  const handles = Array.from({ length: 100_000 }, (_, i) => app.tasks.submit(`t:${i}`, () => go.promise, { delay: i % 2 * 1_000 }))
  await turn()
  for (const handle of handles) handle.cancel()
  go.resolve()
  await app.tasks.idle()
  await assertIdle(app)
  const { aborted, completed } = app.tasks.stats()
  t.equal(aborted + completed, 100_000)
})
