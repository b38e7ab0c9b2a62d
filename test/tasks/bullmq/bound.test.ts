// What the bound of stored tasks decides by: counts of Redis, and how old they are.
import t from 'tap'
import { Bound } from '../../../plugins/tasks/bullmq/queue.ts'

t.test('a count refuses while it is fresh; an old one is renewed before it refuses, since tasks may have ended', async (t) => {
  let now = 1_000_000
  t.intercept(performance, 'now', { value: () => now })
  let counts = { waiting: 1, delayed: 1, active: 1 }
  let asked = 0
  const bound = new Bound({ getJobCounts: async () => { asked++; return counts } }, 3)
  const enqueue = async (): Promise<void> => {
    await bound.counted()
    bound.add()
  }
  const full = { code: 'FC_ERR_TASKS_FULL', waiting: 3, running: 1, limit: 3 }

  t.equal(bound.counted(), undefined, 'nothing is known yet: nobody waits')
  bound.add()
  await new Promise((resolve) => { setImmediate(resolve) })
  for (let n = 0; n < 9; n++) await t.rejects(enqueue(), full, 'two that Redis counted, and the one of this process')
  t.equal(asked, 1, 'Redis is asked once in 250 ms')
  now += 300
  t.equal(bound.counted(), undefined, 'a count that is asked for again still holds')
  t.throws(() => bound.add(), full)
  counts = { waiting: 0, delayed: 0, active: 1 }
  now += 3_600_000
  await enqueue()
  await enqueue()
  await enqueue()
  await t.rejects(enqueue(), full, 'after a quiet hour, there is room for as many as Redis says')
  now += 1_000
  counts = { waiting: 3, delayed: 0, active: 1 }
  for (let n = 0; n < 9; n++) {
    now += 1_000
    await t.rejects(enqueue(), full, 'a call a second is refused too')
  }
})

t.test('while Redis can not count, a full bound says so', async (t) => {
  let now = 1_000_000
  t.intercept(performance, 'now', { value: () => now })
  let isAway = false
  const bound = new Bound({ getJobCounts: async () => { if (isAway) throw new Error('away'); return { waiting: 3 } } }, 3)
  await bound.counted()
  isAway = true
  now += 1_000
  await t.rejects(bound.counted() ?? Promise.resolve(), { message: 'away' })
})
