import t from 'tap'
import { mapOrdered } from '../../plugins/workers/pool/map.ts'
import { deferred, rejection, startApp, until } from '../helper.ts'

const isRefusal = (error: unknown): boolean => (error as Error).message === 'refused'

t.test('results come in the order of the items, whatever ends first', async (t) => {
  const gates = [deferred(), deferred(), deferred()]
  const mapped = mapOrdered([0, 1, 2], async (n) => { await gates[n]?.promise; return n * 2 }, { width: () => 3, isRefusal })
  for (const gate of gates.reverse()) gate.resolve()
  t.same(await mapped, [0, 2, 4])
})

t.test('no more at once than its width, which may grow', async (t) => {
  let running = 0
  let most = 0
  let width = 2
  await mapOrdered(Array.from({ length: 20 }, (_, n) => n), async (n) => {
    most = Math.max(most, ++running)
    if (n === 10) { t.equal(most, 2); width = 5 }
    await new Promise((resolve) => setImmediate(resolve))
    running--
  }, { width: () => width, isRefusal })
  t.equal(most, 5)
})

t.test('the first error cancels the others, starts no more, and is thrown when all have settled', async (t) => {
  const started: number[] = []
  let aborted = 0
  let settled = 0
  const error = await rejection(mapOrdered([0, 1, 2, 3, 4], async (n, signal) => {
    started.push(n)
    if (n === 1) throw new Error('first')
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => { aborted++; setImmediate(resolve) }))
    settled++
    throw new Error('later')
  }, { width: () => 3, isRefusal }))
  t.equal(error.message, 'first')
  t.same([started, aborted, settled], [[0, 1, 2], 2, 2])
})

t.test('an item that is refused because of its siblings is tried again with fewer; one refused alone fails', async (t) => {
  let running = 0
  const results = await mapOrdered(Array.from({ length: 30 }, (_, n) => n), async (n) => {
    if (running === 2) throw new Error('refused')
    running++
    await new Promise((resolve) => setImmediate(resolve))
    running--
    return n
  }, { width: () => 10, isRefusal })
  t.same(results, Array.from({ length: 30 }, (_, n) => n))
  t.equal((await rejection(mapOrdered([1], async () => { throw new Error('refused') }, { width: () => 10, isRefusal }))).message, 'refused')
})

t.test('an empty list, and an iterator that throws', async (t) => {
  t.same(await mapOrdered([], async () => 1, { width: () => 2, isRefusal }), [])
  const broken = function * (): Generator<number> { yield 1; throw new Error('iterator') }
  t.equal((await rejection(mapOrdered(broken(), async (n) => n, { width: () => 1, isRefusal }))).message, 'iterator')
  let returned = false
  const endless = function * (): Generator<number> { try { for (let n = 0; ; n++) yield n } finally { returned = true } }
  await rejection(mapOrdered(endless(), async (n) => { if (n === 3) throw new Error('enough') }, { width: () => 2, isRefusal }))
  t.ok(returned, 'an iterator that isn\'t read to its end is told')
})

t.test('ten thousand items on two threads neither fill the queue nor are refused', async (t) => {
  const { workers } = await startApp(t, { maxThreads: 2, maxQueue: 200 })
  const items = Array.from({ length: 10_000 }, (_, n) => n)
  t.same(await workers.map('echo', items), items)
  t.match(workers.stats().jobs.echo, { completed: 10_000, refused: { count: 0, wait: 0, deadline: 0, shed: 0 } })
  t.match(await rejection(workers.map('fail', ['type', 'type'])), { name: 'TypeError' })
  await workers.idle()
  t.match(workers.stats(), { running: 0, waiting: 0 })
  // @ts-expect-error no such job
  t.match(await rejection(workers.map('nope', [])), { code: 'FC_ERR_JOB_UNKNOWN' })
})

t.test('map() keeps no more jobs waiting than the threads take next', async (t) => {
  const { workers } = await startApp(t, { maxThreads: 2 })
  const mapped = workers.map('spin', Array.from({ length: 40 }, () => ({ ms: 5 })))
  await until(() => workers.stats().running === 2, 'both threads run')
  t.equal(workers.stats().waiting, 2)
  t.equal((await mapped).length, 40)
})

t.test('items that turn out longer than they began aren\'t refused because of their siblings', async (t) => {
  const { workers } = await startApp(t, { maxThreads: 2 })
  const items = [...Array.from({ length: 60 }, () => ({ ms: 0 })), ...Array.from({ length: 80 }, () => ({ ms: 20 }))]
  t.equal((await workers.map('spin', items)).length, 140)
  const small = await startApp(t, { maxThreads: 1, maxQueue: 0 })
  t.equal((await small.workers.map('echo', Array.from({ length: 50 }, (_, n) => n))).length, 50)
})

t.test('a bad option, and no list', async (t) => {
  const { workers } = await startApp(t)
  t.match(await rejection(workers.map('echo', [1], { timeout: -1 })), { code: 'FC_ERR_OPTION_INVALID', message: /run\.timeout/ })
  t.match(await rejection(workers.map('echo', [1], null as never)), { code: 'FC_ERR_OPTION_INVALID' })
  t.match(await rejection(workers.map('echo', undefined as never)), { code: 'FC_ERR_OPTION_INVALID', message: /map\.items/ })
})

t.test('a map whose first error comes while others run ends them', async (t) => {
  const { workers } = await startApp(t, { maxThreads: 2 })
  t.match(await rejection(workers.map('spin', [{ ms: Infinity }, null as never])), { name: 'TypeError' })
  t.equal(workers.stats().jobs.spin.aborted, 1)
  await workers.idle()
})

t.test('a map is cancelled by its signal', async (t) => {
  const { workers } = await startApp(t)
  t.match(await rejection(workers.map('spin', [{ ms: 60_000 }, { ms: 60_000 }, { ms: 60_000 }], { signal: AbortSignal.timeout(50) })), { code: 'FC_ERR_JOB_ABORTED' })
  await workers.idle()
})

t.test('a map() that nobody awaits doesn\'t end the process when it is aborted; an error of its own job is reported by Node.js', async (t) => {
  const { workers } = await startApp(t)
  const unhandled: Error[] = []
  const onUnhandled = (error: Error): void => { unhandled.push(error) }
  process.on('unhandledRejection', onUnhandled)
  t.teardown(() => process.off('unhandledRejection', onUnhandled))
  const controller = new AbortController()
  void workers.map('spin', [{ ms: Infinity }, { ms: Infinity }], { signal: controller.signal })
  await until(() => workers.stats().running > 0, 'it runs')
  controller.abort()
  await workers.idle()
  void workers.map('fail', ['custom'])
  await until(() => unhandled.length > 0, 'the error of the job is unhandled')
  t.equal(unhandled.length, 1)
  t.notMatch(unhandled[0], { code: 'FC_ERR_JOB_ABORTED' })
})
