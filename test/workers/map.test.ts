import t from 'tap'
import { mapOrdered } from '../../plugins/workers/map.ts'
import { deferred, rejection, startApp } from '../helper.ts'

t.test('results come in the order of the items, whatever ends first', async (t) => {
  const gates = [deferred(), deferred(), deferred()]
  const mapped = mapOrdered([0, 1, 2], () => 3, async (n) => { await gates[n]?.promise; return n * 2 })
  for (const gate of gates.reverse()) gate.resolve()
  t.same(await mapped, [0, 2, 4])
})

t.test('no more at once than its width, which may grow', async (t) => {
  let running = 0
  let most = 0
  let width = 2
  await mapOrdered(Array.from({ length: 20 }, (_, n) => n), () => width, async (n) => {
    most = Math.max(most, ++running)
    if (n === 10) { t.equal(most, 2); width = 5 }
    await new Promise((resolve) => setImmediate(resolve))
    running--
  })
  t.equal(most, 5)
})

t.test('the first error cancels the others, starts no more, and is thrown when all have settled', async (t) => {
  const started: number[] = []
  let aborted = 0
  let settled = 0
  const error = await rejection(mapOrdered([0, 1, 2, 3, 4], () => 3, async (n, signal) => {
    started.push(n)
    if (n === 1) throw new Error('first')
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => { aborted++; setImmediate(resolve) }))
    settled++
    throw new Error('later')
  }))
  t.equal(error.message, 'first')
  t.same([started, aborted, settled], [[0, 1, 2], 2, 2])
})

t.test('an empty list, and an iterator that throws', async (t) => {
  t.same(await mapOrdered([], () => 2, async () => 1), [])
  const broken = function * (): Generator<number> { yield 1; throw new Error('iterator') }
  t.equal((await rejection(mapOrdered(broken(), () => 1, async (n) => n))).message, 'iterator')
})

t.test('ten thousand items on two threads neither fill the queue nor are refused', async (t) => {
  const { workers } = await startApp(t, { maxThreads: 2, maxQueue: 200 })
  const items = Array.from({ length: 10_000 }, (_, n) => n)
  t.same(await workers.map('echo', items), items)
  t.match(workers.stats().jobs.echo, { completed: 10_000, refused: { count: 0, wait: 0, deadline: 0, shed: 0 } })
  t.match(await rejection(workers.map('fail', ['type', 'custom'])), { name: 'TypeError' })
  await workers.idle()
  t.match(workers.stats(), { running: 0, waiting: 0 })
  // @ts-expect-error no such job
  t.match(await rejection(workers.map('nope', [])), { code: 'FC_ERR_JOB_UNKNOWN' })
})

t.test('a map is cancelled by its signal', async (t) => {
  const { workers } = await startApp(t)
  t.match(await rejection(workers.map('spin', [{ ms: 60_000 }, { ms: 60_000 }, { ms: 60_000 }], { signal: AbortSignal.timeout(50) })), { code: 'FC_ERR_JOB_ABORTED' })
  await workers.idle()
})
