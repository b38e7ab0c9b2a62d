import t from 'tap'
import { secondsUntilFree } from '../../../plugins/tasks/running/capacity.ts'

const none = { running: [], queued: 0, nextDueAt: Infinity, concurrency: 64, meanRunMs: undefined }
const now = 10_000

t.test('the estimate of when a place comes free follows from the running and waiting tasks', async (t) => {
  const since = (ms: number, timeout: number): { startedAt: number, dueAt: number } => ({ startedAt: now - ms, dueAt: now - ms + timeout })
  const silent = Array.from({ length: 64 }, () => since(3_000, 30_000))
  t.equal(secondsUntilFree({ ...none, running: silent, queued: 1_000 }, now), 27, 'none has ended yet: at the first deadline')
  t.equal(secondsUntilFree({ ...none, running: [since(100, 30_000)], queued: 1_000, meanRunMs: 200 }, now), 4, 'behind the queue')
  t.equal(secondsUntilFree({ ...none, running: silent, meanRunMs: 200 }, now), 3, 'it has outlasted others: as long again as it has run')
  t.equal(secondsUntilFree({ ...none, running: [since(29_500, 30_000)], meanRunMs: 200 }, now), 1, 'but never past its deadline')
  t.equal(secondsUntilFree({ ...none, running: [since(5_000, Infinity)] }, now), 5)
  t.equal(secondsUntilFree({ ...none, nextDueAt: now + 1_800_000 }, now), 1_800, 'nothing runs: when the first delay is over')
  t.equal(secondsUntilFree(none, now), 1, 'never at once')
  t.equal(secondsUntilFree({ ...none, running: silent, queued: 1_000_000, meanRunMs: 60_000 }, now), 300, 'past that nobody can tell')
})
