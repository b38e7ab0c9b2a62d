// What a decision costs, in time and in memory, whatever waits.
import t from 'tap'
import { create, drain, learn, occupy, patient, Job } from './helper.ts'

t.test('a million keys leave nothing behind', async (t) => {
  const admission = create({ threads: 2, maxQueue: 1_000 })
  let most = 0
  const running: Job[] = []
  for (let i = 0; i < 1_000_000; i++) {
    const now = i / 100
    admission.offer(new Job('x', { key: `key ${i}` }), now)
    if (admission.running < 2) running.push(admission.take(now)!)
    else if (i % 3 === 0) admission.finish(running.shift()!, now, 0.01, 'completed')
    if (i % 1_000 === 0) most = Math.max(most, admission.keys)
  }
  t.ok(most <= 3_000, `${most} keys remembered at most`)
  for (const job of running) admission.finish(job, 10_000, 1, 'completed')
  drain(admission, 10_000)
  t.equal(admission.keys, 0)
  t.equal(admission.waiting, 0)
})

t.test('a decision with 10,000 waiting costs about what it costs with 10', async (t) => {
  const cost = (waiting: number): number => {
    const admission = create({ ...patient, threads: 2, maxQueue: 2 * waiting })
    learn(admission, 0, 1)
    occupy(admission, 2)
    let next = 0
    const job = (): Job => new Job('x', { key: `k${next++ % waiting}` })
    for (let i = 0; i < waiting; i++) admission.offer(job(), 0)
    const started = process.cpuUsage()
    for (let i = 0; i < 30_000; i++) {
      admission.offer(job(), i)
      admission.finish(admission.take(i)!, i, 1, 'completed')
    }
    return process.cpuUsage(started).user
  }
  const best = (waiting: number): number => Math.min(...Array.from({ length: 5 }, () => cost(waiting)))
  best(100)
  const ratio = best(10_000) / best(10)
  // 3 is the bar of bench/admission.ts; a walk over what waits would make it 100 and more.
  t.ok(ratio <= 20, `${ratio.toFixed(1)} times`)
})
