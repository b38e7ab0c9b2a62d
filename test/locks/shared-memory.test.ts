// SharedCounter and SharedFlag: one state for jobs and the main thread.
import t from 'tap'
import { SharedCounter, SharedFlag } from '../../workers/jobs.ts'
import { startApp, until } from '../helper.ts'

t.test('a counter that two threads and the main thread add to loses nothing', async (t) => {
  const { workers } = await startApp(t, { maxThreads: 2 })
  const counter = new SharedCounter()
  const started = new SharedCounter()
  const stop = new SharedFlag()
  const jobs = [1, 2].map(async () => workers.run('addUntil', { counter: counter.buffer, started: started.buffer, stop: stop.buffer }))
  await until(() => started.value === 2, 'both threads add')
  for (let n = 0; n < 100_000; n++) counter.add(1)
  t.equal(stop.set(), true)
  const added = await Promise.all(jobs)
  t.equal(counter.value, added.reduce((sum, n) => sum + n, 100_000))
})

t.test('a counter counts in whole numbers, down too', async (t) => {
  const counter = new SharedCounter()
  t.equal(counter.add(), 1)
  t.equal(counter.add(-3), -2)
  t.equal(counter.reset(Number.MAX_SAFE_INTEGER - 1), -2)
  t.equal(counter.add(1), Number.MAX_SAFE_INTEGER)
  t.equal(new SharedCounter(counter.buffer).value, Number.MAX_SAFE_INTEGER)
  t.equal(counter.reset(), Number.MAX_SAFE_INTEGER)
  t.equal(counter.value, 0)
  for (const amount of [0.5, NaN, '1', undefined]) {
    if (amount !== undefined) t.throws(() => counter.add(amount as never), TypeError)
  }
})

t.test('a flag is set by one of those who set it', async (t) => {
  const flag = new SharedFlag()
  const other = new SharedFlag(flag.buffer)
  t.equal(flag.isSet, false)
  t.equal(other.clear(), false)
  t.strictSame([flag.set(), other.set()], [true, false])
  t.equal(other.isSet, true)
  t.strictSame([other.clear(), flag.clear()], [true, false])
})

t.test('what is no buffer of enough bytes is refused', async (t) => {
  for (const buffer of [new ArrayBuffer(8), new SharedArrayBuffer(2), {}, null]) {
    t.throws(() => new SharedCounter(buffer as never), TypeError)
    t.throws(() => new SharedFlag(buffer as never), TypeError)
  }
})
