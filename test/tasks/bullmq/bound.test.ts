// What the bound of stored tasks decides by: counts of Redis, and how old they are.
import t from 'tap'
import { Bound } from '../../../plugins/tasks/bullmq/bound.ts'

t.test('a count refuses while it is fresh; an old one refuses nothing, since tasks may have ended', async (t) => {
  let now = 1_000_000
  t.intercept(performance, 'now', { value: () => now })
  let counts = { waiting: 1, delayed: 1, active: 1 }
  let asked = 0
  const bound = new Bound({ getJobCounts: async () => { asked++; return counts } }, 3)
  const settled = (): Promise<void> => new Promise((resolve) => { setImmediate(resolve) })
  const full = { code: 'FC_ERR_TASKS_FULL', waiting: 3, running: 1, limit: 3 }

  t.doesNotThrow(() => bound.add(), 'nothing is known yet')
  await settled()
  for (let n = 0; n < 9; n++) t.throws(() => bound.add(), full, 'two that Redis counted, and the one of this process')
  t.equal(asked, 1, 'Redis is asked once in 250 ms')
  now += 300
  t.throws(() => bound.add(), full, 'a count that is asked for again still holds')
  counts = { waiting: 0, delayed: 0, active: 1 }
  now += 3_600_000
  t.doesNotThrow(() => bound.add(), 'after a quiet hour')
  await settled()
  t.doesNotThrow(() => bound.add())
  t.doesNotThrow(() => bound.add(), 'Redis has said that the queue is empty')
})
