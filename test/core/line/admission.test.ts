import t from 'tap'
import type { Admission } from '../../../plugins/core/line/admission.ts'
import { Estimates } from '../../../plugins/core/line/estimates.ts'
import type { Refusal } from '../../../plugins/shared/errors.ts'
import { create, drain, Job, learn, occupy, patient } from './helper.ts'
import { fixed, simulate } from './simulation.ts'

const HOUR = 3_600_000

/** Teaches how long the jobs of a key run, in ms, with an idle thread. */
function learnOf (admission: Admission<Job>, key: string, ms: number, times = 1): void {
  for (let i = 0; i < times; i++) {
    admission.offer(new Job('lesson', { key }), 0)
    admission.finish(admission.take(0)!, 0, ms, 'completed')
  }
}

/** So many runs that their mean is certain. */
const MANY = 300

t.test('bounded by count: the newest job of the longest key goes, not the newcomer of a short one', async (t) => {
  const admission = create({ maxQueue: 3 })
  occupy(admission)
  const heavy = ['h1', 'h2', 'h3', 'h4'].map((name) => new Job(name, { key: 'heavy' }))
  for (const job of heavy.slice(0, 3)) t.equal(admission.offer(job, 0), undefined)
  t.match(admission.offer(heavy[3]!, 0), { reason: 'count', waiting: 3, limit: 3, retryAfter: 1 }, 'its own key is the longest')
  const light = new Job('light', { key: 'light' })
  t.equal(admission.offer(light, 0), undefined)
  t.match(heavy[2]!.refusal, { reason: 'count' })
  t.equal(admission.waiting, 3)
  t.equal(heavy[1]!.refusal, undefined)
  t.match(admission.offer(new Job('even', { key: 'light' }), 0), { reason: 'count' }, 'to change places would be no fairer')
  t.match(admission.offer(new Job('flood', { key: 'new' }), 0), undefined)
  t.match(heavy[1]!.refusal, { reason: 'count' })
  t.match(admission.offer(new Job('flood', { key: 'newer' }), 0), { reason: 'count' }, 'new keys without end evict nobody')
  t.same(drain(admission), ['h1', 'light', 'flood'])
})

t.test('the longest key is known through arrivals, departures and service', async (t) => {
  const admission = create({ maxQueue: 7, ...patient })
  occupy(admission)
  const jobs = ['a1', 'a2', 'a3', 'b1', 'b2', 'b3', 'b4'].map((name) => new Job(name, { key: name[0]! }))
  for (const job of jobs) admission.offer(job, 0)
  admission.leave(jobs[6]!, 0)
  admission.leave(jobs[5]!, 0)
  admission.offer(new Job('c1', { key: 'c' }), 0)
  admission.offer(new Job('c2', { key: 'c' }), 0)
  t.equal(admission.offer(new Job('d1', { key: 'd' }), 0), undefined)
  t.same(jobs.filter((job) => job.refusal).map((job) => job.name), ['a3'])
})

t.test('maxQueue 0 means: a thread or nothing', async (t) => {
  const admission = create({ maxQueue: 0, threads: 2 })
  t.equal(admission.offer(new Job('first'), 0), undefined)
  t.equal(admission.offer(new Job('second', { key: 'other' }), 0), undefined, 'offered before the first is taken')
  t.match(admission.offer(new Job('third', { key: 'third' }), 0), { reason: 'count', limit: 0 })
  t.same(drain(admission), ['first', 'second'])
})

t.test('an idle thread admits, whatever is believed of the job', async (t) => {
  const admission = create({ maxQueue: 1, concurrency: [Infinity, 1], threads: 2 })
  learn(admission, 0, 10_000_000)
  t.equal(admission.offer(new Job('slow, they say', { deadline: 5 }), 0), undefined)
  const slow = admission.take(0)!
  t.equal(slow.name, 'slow, they say', 'and the thread gets it')
  admission.offer(new Job('capped', { job: 1 }), 0)
  const capped = admission.take(0)!
  admission.offer(new Job('capped too', { job: 1 }), 0)
  admission.finish(capped, 0, 1, 'completed')
  admission.take(0)
  admission.offer(new Job('capped as well', { job: 1 }), 0)
  admission.finish(slow, 0, 1, 'completed')
  t.equal(admission.offer(new Job('an idle thread takes it'), 0), undefined, 'though the queue is full of capped ones')
})

t.test('a name that never ran is bounded by count only', async (t) => {
  const admission = create({ maxQueue: 50 })
  learn(admission, 0, 10_001, 0, MANY)
  occupy(admission)
  t.equal(admission.offer(new Job('known'), 0), undefined)
  t.match(admission.offer(new Job('known'), 0), { reason: 'wait' })
  for (let i = 0; i < 49; i++) t.equal(admission.offer(new Job('unknown', { job: 1 }), 0), undefined)
  t.match(admission.offer(new Job('unknown', { job: 1 }), 0), { reason: 'count' })
})

t.test('a burst of as much work as maxWait allows is admitted, and no more', async (t) => {
  const admission = create({ threads: 2 })
  for (const key of ['heavy', 'light']) learnOf(admission, key, 100, MANY)
  occupy(admission, 2)
  for (let i = 1; i <= 201; i++) t.equal(admission.offer(new Job(`${i}`, { key: 'heavy' }), 0), undefined)
  t.match(admission.offer(new Job('202', { key: 'heavy' }), 0), { reason: 'wait', estimatedWait: 10_050, limit: 10_000, waiting: 201, retryAfter: 11 })
  for (let i = 1; i <= 99; i++) t.equal(admission.offer(new Job(`page ${i}`, { key: 'light' }), 0), undefined, 'another key has its own share')
  t.match(admission.offer(new Job('too many', { key: 'light' }), 0), undefined)
  t.match(admission.offer(new Job('too many', { key: 'light' }), 0), { reason: 'wait' })
})

t.test('Retry-After is the work ahead, in whole seconds and at least one', async (t) => {
  const admission = create({ threads: 2, maxQueue: 40, ...patient })
  learn(admission, 0, 1_000)
  occupy(admission, 2)
  for (let i = 0; i < 40; i++) admission.offer(new Job(`${i}`), 0)
  t.match(admission.offer(new Job('refused'), 0), { reason: 'count', estimatedWait: 20_000, retryAfter: 21 })
})

t.test('a client that comes back after Retry-After finds a free thread, if nobody else came', async (t) => {
  for (const [threads, ms] of [[1, 3_000], [2, 700], [4, 150]] as const) {
    const admission = create({ threads, maxQueue: 9 })
    learn(admission, 0, ms)
    const running: Array<{ job: Job, end: number }> = []
    const work = (now: number): void => {
      while (running[0] !== undefined && running[0].end <= now) {
        const { job, end } = running.shift()!
        admission.finish(job, end, ms, 'completed')
        start(end)
      }
    }
    const start = (now: number): void => {
      for (let job = admission.running < threads ? admission.take(now) : undefined; job !== undefined; job = admission.running < threads ? admission.take(now) : undefined) {
        running.push({ job, end: now + ms })
      }
    }
    let refusal: Refusal | undefined
    for (let i = 0; refusal === undefined; i++) {
      refusal = admission.offer(new Job(`${i}`), 0)
      start(0)
    }
    const now = refusal.retryAfter * 1_000
    work(now)
    const back = new Job('back')
    t.equal(admission.offer(back, now), undefined)
    t.equal(admission.take(now), back, `${threads} threads, ${ms} ms: after ${refusal.retryAfter} s`)
  }
})

t.test('a job that finds a thread free is in no queue; once another has to wait, its run counts for its key', async (t) => {
  const admission = create()
  const first = new Job('a1', { key: 'a' })
  admission.offer(first, 0)
  t.equal(admission.take(0), first)
  t.equal(admission.keys, 0)
  admission.offer(new Job('a2', { key: 'a' }), 0)
  admission.offer(new Job('b1', { key: 'b' }), 0)
  t.equal(admission.keys, 2)
  admission.finish(first, 100, 100, 'completed')
  t.same(drain(admission, 100), ['b1', 'a2'])
})

t.test('a job that was promised a thread outlasts maxWait, for a thread that takes long to start', async (t) => {
  const admission = create({ threads: 2 })
  const jobs = ['a', 'b', 'c', 'd'].map((name) => new Job(name))
  for (const job of jobs) admission.offer(job, 0)
  admission.offer(new Job('later'), 15_000)
  t.same([admission.take(15_000), admission.take(15_000)], jobs.slice(0, 2))
  t.match([jobs[2]!.refusal, jobs[3]!.refusal], [{ reason: 'shed' }, { reason: 'shed' }])
})

t.test('a job is refused when wait and run cannot meet its deadline', async (t) => {
  const admission = create({ ...patient })
  for (let i = 0; i < MANY; i++) learn(admission, 0, [300, 301, 299, 302, 298][i % 5]!)
  occupy(admission)
  t.match(admission.offer(new Job('no', { deadline: 250 }), 0), { reason: 'deadline', limit: 250, estimatedWait: 0 })
  t.equal(admission.offer(new Job('perhaps', { deadline: 299 }), 0), undefined, 'judged by its quickest runs, not by the mean')
  t.match(admission.offer(new Job('no', { deadline: 550 }), 0), { reason: 'deadline', limit: 550 }, 'the wait counts')
  const late = new Job('late', { deadline: 1_000 })
  t.equal(admission.offer(late, 0), undefined)
  t.equal(admission.take(980), undefined, 'what can no longer meet its deadline is refused at its turn')
  t.match(late.refusal, { reason: 'deadline', limit: 20 })
})

t.test('without an overload, jobs are served in the order of arrival however long they have waited', async (t) => {
  const admission = create()
  learn(admission, 0, 10)
  learnOf(admission, 'other', 10)
  occupy(admission)
  for (const name of ['old 1', 'old 2']) admission.offer(new Job(name), 0)
  for (const name of ['new 1', 'new 2']) admission.offer(new Job(name), 5_000)
  for (const name of ['other']) admission.offer(new Job(name, { key: 'other' }), 5_000)
  t.same(drain(admission, 5_000, 10), ['old 1', 'other', 'old 2', 'new 1', 'new 2'])
})

t.test('twelve clients that ask for the same get the same, also if a round is longer than orderWait', async (t) => {
  const admission = create({ threads: 2 })
  learn(admission, 0, 300)
  const served = new Map<string, number>()
  for (let i = 0; i < 12; i++) admission.offer(new Job('x', { key: `client ${i}` }), 0)
  let longest = 0
  for (let now = 0; now < 18_000; now += 300) {
    const running = [admission.take(now)!, admission.take(now)!]
    for (const job of running) {
      longest = Math.max(longest, now - job.arrived)
      served.set(job.key, (served.get(job.key) ?? 0) + 1)
    }
    for (const job of running) {
      admission.finish(job, now + 300, 300, 'completed')
      t.equal(admission.offer(new Job('x', { key: job.key }), now + 300), undefined)
    }
  }
  t.same(new Set(served.values()), new Set([10]))
  t.ok(longest <= 1_800, `longest wait ${longest}`)
})

t.test('a light key and heavy keys of one name: the light one is served at its next turn', async (t) => {
  const admission = create()
  const heavy = Array.from({ length: 20 }, (_, i) => `heavy ${i}`)
  learnOf(admission, 'light', 0)
  for (const key of heavy) learnOf(admission, key, 1_000)
  occupy(admission)
  for (const key of heavy.slice(0, 9)) t.equal(admission.offer(new Job(key, { key }), 0), undefined)
  t.equal(admission.offer(new Job('light', { key: 'light' }), 0), undefined)
  t.equal(drain(admission)[0], 'light')
})

t.test('a key that comes for the first time is served before keys that have run, and is not refused for their round', async (t) => {
  const admission = create()
  const heavy = Array.from({ length: 20 }, (_, i) => `heavy ${i}`)
  for (const key of heavy) learnOf(admission, key, 1_000)
  occupy(admission)
  for (const key of heavy.slice(0, 11)) t.equal(admission.offer(new Job(key, { key }), 0), undefined)
  t.match(admission.offer(new Job('heavy', { key: 'heavy 12' }), 0), { reason: 'wait' })
  t.equal(admission.offer(new Job('new', { key: 'new' }), 0), undefined)
  for (let i = 0; i < 5; i++) admission.offer(new Job(`new ${i}`, { key: 'new' }), 0)
  t.match(admission.offer(new Job('new too', { key: 'new' }), 0), { reason: 'wait' }, 'but a new key brings no queue of its own')
  t.equal(drain(admission)[0], 'new')
})

t.test('a pool that has run nothing yet: of the heavy keys that came before their name was measured, few come before a light one', async (t) => {
  const admission = create()
  for (let i = 0; i < 60; i++) admission.offer(new Job(`heavy ${i}`, { key: `heavy ${i}` }), 0)
  admission.finish(admission.take(0)!, 100, 100, 'completed')
  admission.offer(new Job('light', { job: 1, key: 'light' }), 100)
  const place = drain(admission, 100, 100).indexOf('light')
  t.ok(place < 10, `after ${place} of 59`)
})

t.test('a key whose runs are all cut off is no stranger for ever', async (t) => {
  const admission = create({ threads: 2, ...patient })
  for (const key of ['a', 'b', 'c', 'one']) learnOf(admission, key, 100)
  admission.offer(new Job('cut off', { key: 'leaver' }), 0)
  admission.finish(admission.take(0)!, 400, 400, 'censored')
  occupy(admission, 2)
  for (const key of ['a', 'b', 'c', 'leaver']) admission.offer(new Job(key, { key }), 400)
  t.equal(drain(admission, 400, 100).at(-1), 'leaver', 'its next job is expected to take as long')
})

t.test('where all keys are new, a key that is known to be light is served before them', async (t) => {
  const admission = create()
  learnOf(admission, 'light', 0)
  learn(admission, 0, 1_000, 0, 10)
  occupy(admission)
  for (const key of ['a', 'b', 'c']) admission.offer(new Job(key, { key }), 0)
  t.equal(admission.offer(new Job('light', { key: 'light' }), 0), undefined)
  t.same(drain(admission), ['light', 'a', 'b', 'c'])
})

t.test('the keys whose run times are remembered are bounded, and those that ran last are remembered', async (t) => {
  const estimates = new Estimates()
  for (const key of ['old', 'light']) estimates.sample(0, key, 5, 0)
  for (let i = 0; i < 1_000; i++) {
    if (i === 500) estimates.sample(0, 'light', 5, 0)
    estimates.sample(0, `key ${i}`, 300, 0)
  }
  t.equal(estimates.ofKey(0, 'old', 0), undefined)
  t.equal(estimates.ofKey(0, 'light', 0), 5)
  t.equal(estimates.ofKey(1, 'light', 0), undefined, 'each name for itself')
})

t.test('no job waits longer than maxWait, but for the last one', async (t) => {
  const admission = create()
  learn(admission, 0, 10)
  occupy(admission)
  const jobs = ['1', '2', '3'].map((name) => new Job(name))
  for (const job of jobs) admission.offer(job, 0)
  t.equal(admission.offer(new Job('next'), 10_001), undefined)
  t.equal(admission.take(10_001)!.name, 'next')
  for (const job of jobs) t.match(job.refusal, { reason: 'shed', estimatedWait: 10_001, limit: 10_000 })
  admission.offer(new Job('only one'), 10_001)
  t.equal(admission.take(HOUR)!.name, 'only one', 'a thread is not left idle for a principle')
})

/** Two threads at six times what they can do, from 0 to `until`: each 20 ms a client comes for a job of 240 ms, and leaves after 500 ms. Returns what runs then. */
function overload (admission: Admission<Job>, until: number, keyOf: (i: number) => string): Job[] {
  const waiting: Job[] = []
  const running: Array<{ job: Job, end: number }> = []
  for (let now = 0, i = 0; now < until; now += 20, i++) {
    while (running[0] !== undefined && running[0].end <= now) admission.finish(running.shift()!.job, now, 240, 'completed')
    while (waiting[0] !== undefined && waiting[0].arrived <= now - 500) admission.leave(waiting.shift()!, now)
    const job = new Job('impatient', { key: keyOf(i) })
    if (admission.offer(job, now) === undefined) waiting.push(job)
    while (admission.running < 2) {
      const taken = admission.take(now)
      if (taken === undefined) break
      running.push({ job: taken, end: now + 240 })
    }
  }
  for (const job of waiting) admission.leave(job, until)
  return running.map(({ job }) => job)
}

for (const [who, keyOf, next] of [
  ['one key', () => 'one', 'one'],
  ['many keys that each ask once', (i: number) => `key ${i}`, 'new'],
  ['a key that is empty for a moment', () => 'one', 'one']
] as const) {
  t.test(`clients that leave make the wait shorter, for as long as the threads stay busy: ${who}`, async (t) => {
    const admission = create({ threads: 2 })
    learn(admission, 0, 240)
    const running = overload(admission, 4_000, keyOf)
    const refusals = Array.from({ length: 3 }, () => admission.offer(new Job('x', { key: next }), 4_000))
    const refusal = refusals.find((each) => each !== undefined)
    t.match(refusal, { reason: 'wait' })
    t.ok(refusal!.limit < 500 && refusal!.estimatedWait < 500, `${refusal!.estimatedWait} of ${refusal!.limit} ms`)
    if (who === 'one key') t.equal(admission.offer(new Job('light', { key: 'light' }), 4_000), undefined, 'a key that did not cause it')
    for (const job of running) admission.finish(job, 4_000, 240, 'completed')
    drain(admission, 4_000, 240)
    for (let i = 0; i < 49; i++) t.equal(admission.offer(new Job('burst', { key: next }), 20_000), undefined, 'idle time has paid it off')
  })
}

t.test('a flood of one key is an overload of that key only, and hides none of the others', async (t) => {
  const admission = create({ threads: 2 })
  learn(admission, 0, 240)
  overload(admission, 4_000, (i) => i % 3 === 0 ? `key ${i % 5}` : 'flood')
  const occupied = Array.from({ length: 2 }, () => new Job('x', { key: 'new' }))
  for (const job of occupied) t.equal(admission.offer(job, 4_000), undefined, 'a new key is served')
  t.match(Array.from({ length: 3 }, () => admission.offer(new Job('x', { key: 'flood' }), 4_000)).at(-1), { reason: 'wait' })
})

t.test('clients that leave at once do not make the wait shorter', async (t) => {
  const admission = create()
  learn(admission, 0, 100)
  occupy(admission)
  const jobs = Array.from({ length: 100 }, () => new Job('impatient'))
  for (const job of jobs) admission.offer(job, 0)
  for (const job of jobs) admission.leave(job, 99)
  for (let i = 0; i < 99; i++) t.equal(admission.offer(new Job('burst'), 1_000), undefined)
})

t.test('first in, first out within a key and class; keys take turns', async (t) => {
  const admission = create({ ...patient })
  learn(admission, 0, 10)
  occupy(admission)
  for (const name of ['a1', 'a2', 'a3', 'a4', 'b1', 'b2', 'c1']) admission.offer(new Job(name, { key: name[0]! }), 0)
  t.same(drain(admission, 0, 10), ['a1', 'b1', 'c1', 'a2', 'b2', 'a3', 'a4'])
})

t.test('a key that begins to wait takes turns at once with one that always waits, and gains nothing by coming back', async (t) => {
  const admission = create({ ...patient })
  learn(admission, 0, 10)
  const [endless] = occupy(admission)
  for (let i = 0; i < 20; i++) admission.offer(new Job('heavy', { key: 'heavy' }), 0)
  admission.finish(endless!, 0, 10, 'completed')
  const order: string[] = []
  for (let i = 0; i < 10; i++) {
    if (order.at(-1) !== 'heavy' || i === 1) admission.offer(new Job('light', { key: 'light' }), 0)
    const job = admission.take(0)!
    order.push(job.name)
    admission.finish(job, 0, 10, 'completed')
  }
  t.equal(order.filter((name) => name === 'light').length, 5, order.join())
  t.ok(order.slice(0, 4).includes('light'))
})

t.test('priority weights the classes, and starves none', async (t) => {
  const admission = create({ ...patient })
  learn(admission, 0, 10)
  const [endless] = occupy(admission)
  for (let i = 0; i < 200; i++) for (const priority of ['low', 'normal', 'high'] as const) admission.offer(new Job(priority, { priority }), 0)
  admission.finish(endless!, 0, 10, 'completed')
  const first = drain(admission, 0, 10).slice(0, 130)
  const count = (priority: string): number => first.filter((name) => name === priority).length
  t.equal(first[0], 'high')
  t.ok(Math.abs(count('high') - 80) <= 2 && Math.abs(count('normal') - 40) <= 2 && Math.abs(count('low') - 10) <= 2,
    `${count('high')} : ${count('normal')} : ${count('low')}`)
  const low = create({ ...patient })
  learn(low, 0, 10)
  for (let i = 0; i < 20; i++) low.offer(new Job('low', { priority: 'low' }), 0)
  for (let i = 0; i < 10; i++) low.finish(low.take(0)!, 0, 10, 'completed')
  low.offer(new Job('urgent', { priority: 'high' }), 0)
  t.equal(low.take(0)!.name, 'urgent', 'a class that was empty has not lost its place')
})

t.test('a job that is put back is at the head again, uncharged, and safe', async (t) => {
  const admission = create({ ...patient, threads: 3, maxQueue: 6 })
  learn(admission, 0, 10)
  const endless = occupy(admission, 3)
  for (const name of ['a1', 'a2', 'a3', 'b1', 'b2', 'c1']) admission.offer(new Job(name, { key: name[0]! }), 0)
  for (const job of endless) admission.finish(job, 0, 10, 'completed')
  const taken = [admission.take(0)!, admission.take(0)!, admission.take(0)!]
  t.same(taken.map((job) => job.name), ['a1', 'b1', 'c1'])
  for (const job of [taken[2]!, taken[0]!, taken[1]!]) admission.putBack(job)
  admission.putBack(taken[0]!)
  t.equal(admission.waiting, 6, 'put back twice is put back once')
  t.equal(admission.running, 0)
  t.same(drain(admission, HOUR, 10).slice(0, 3).sort(), ['a1', 'b1', 'c1'])
})

t.test('a job that is put back is neither shed nor served last for having waited', async (t) => {
  const admission = create({ threads: 2 })
  learn(admission, 0, 10)
  const endless = occupy(admission, 2)
  for (const name of ['moved', 'a', 'b']) admission.offer(new Job(name), 0)
  admission.finish(endless[0]!, 0, 10, 'completed')
  const moved = admission.take(0)!
  admission.putBack(moved)
  for (let now = 0; now < 500; now++) admission.offer(new Job('more', { key: 'other' }), now)
  t.equal(admission.take(20_000)!.name, 'moved')
})

t.test('a client that leaves is out at once', async (t) => {
  const admission = create({ ...patient, concurrency: [Infinity, 1] })
  occupy(admission)
  const jobs = ['a', 'b', 'c'].map((name) => new Job(name))
  for (const job of jobs) admission.offer(job, 0)
  t.equal(admission.leave(jobs[1]!, 0), true)
  t.equal(admission.waiting, 2)
  t.equal(admission.leave(jobs[1]!, 0), false, 'only once')
  t.equal(admission.leave(new Job('never offered'), 0), false)
  const [first, second] = [new Job('first', { job: 1 }), new Job('second', { job: 1 })]
  admission.offer(first, 0)
  admission.offer(second, 0)
  admission.leave(first, 0)
  t.same(drain(admission), ['a', 'c', 'second'], 'its permit goes to the next')
  t.equal(admission.leave(jobs[0]!, 0), false, 'one that ended has nothing to leave')
})

t.test('a job with concurrency waits for its own permits only, and its refusals say so', async (t) => {
  const admission = create({ threads: 4, concurrency: [Infinity, 1], maxWait: 10_000 })
  learn(admission, 1, 1_000, 0, MANY)
  learn(admission, 0, 10)
  const capped = Array.from({ length: 30 }, (_, i) => new Job(`capped ${i}`, { job: 1 }))
  const refused = capped.map((job) => admission.offer(job, 0)).filter((refusal) => refusal !== undefined)
  t.match(refused[0], { reason: 'wait', estimatedWait: 11_000, limit: 10_000, retryAfter: 12 }, 'one at a time, whatever the threads')
  t.equal(admission.take(0)!.name, 'capped 0')
  t.equal(admission.take(0), undefined, 'three threads are free, but not for this name')
  t.equal(admission.offer(new Job('short'), 0), undefined)
  t.equal(admission.take(0)!.name, 'short')
  admission.finish(capped[0]!, 1_000, 1_000, 'completed')
  t.equal(admission.take(1_000)!.name, 'capped 1')
})

t.test('a capped job keeps its place in the order of arrival', async (t) => {
  const admission = create({ ...patient, threads: 2, concurrency: [Infinity, 1] })
  const [one, two] = [new Job('capped 1', { job: 1 }), new Job('capped 2', { job: 1 })]
  admission.offer(one, 0)
  admission.take(0)
  occupy(admission)
  for (const job of [new Job('before'), two, new Job('after')]) admission.offer(job, 0)
  admission.finish(one, 0, 10, 'completed')
  t.same(drain(admission), ['before', 'capped 2', 'after'])
})

t.test('only names whose runs almost all fit are prefetched', async (t) => {
  const admission = create({ ...patient })
  const jobs = [new Job('unknown'), new Job('also')]
  for (const job of jobs) admission.offer(job, 0)
  t.equal(admission.takeShort(0, 1_000), undefined, 'a name without an estimate never fits')
  for (const job of jobs) admission.leave(job, 0)
  learn(admission, 0, 0.1, 0, 20)
  occupy(admission)
  admission.offer(new Job('short'), 0)
  admission.offer(new Job('long', { job: 1 }), 0)
  t.equal(admission.takeShort(0, 0.01), undefined)
  t.equal(admission.takeShort(0, 1)!.name, 'short')
  t.equal(admission.takeShort(0, 1), undefined, 'the next one does not fit, and nothing passes it')
  t.equal(admission.running, 2)
  const erratic = create({ ...patient })
  for (let i = 0; i < 40; i++) learn(erratic, 0, i % 20 === 0 ? 10 : 0.1)
  occupy(erratic)
  erratic.offer(new Job('erratic'), 0)
  t.ok(erratic.estimate(0)! < 1)
  t.equal(erratic.takeShort(0, 1), undefined, 'a mean that fits is not enough')
})

t.test('a job that is shed on the way does not let a long job be handed to a busy thread', async (t) => {
  const admission = create()
  learn(admission, 0, 0.1, 0, 20)
  learn(admission, 1, 50, 0, 20)
  occupy(admission)
  const stale = new Job('stale')
  admission.offer(stale, 0)
  admission.offer(new Job('long', { job: 1 }), 10_000)
  t.equal(admission.takeShort(10_001, 1), undefined)
  t.match(stale.refusal, { reason: 'shed' })
})

t.test('the estimate is of completed runs; one cut off can only raise it', async (t) => {
  const admission = create()
  t.equal(admission.estimate(0), undefined)
  learn(admission, 0, 100)
  t.equal(admission.estimate(0), 100)
  const end = (run: number, outcome: 'censored' | 'unknown'): void => {
    admission.offer(new Job('x'), 0)
    admission.finish(admission.take(0)!, 0, run, outcome)
  }
  end(5, 'censored')
  end(9_999, 'unknown')
  t.equal(admission.estimate(0), 100)
  end(200, 'censored')
  t.equal(admission.estimate(0), 150)
  const [job] = occupy(admission)
  admission.finish(job!, 0, -5, 'completed')
  t.equal(admission.estimate(0), 100, 'a run can not have taken less than no time')
  t.ok(admission.running === 0)
  admission.finish(job!, 0, 10, 'completed')
  t.equal(admission.running, 0, 'nothing ends twice')
})

t.test('slow runs of one client don\'t get the quick bursts of all others refused', async (t) => {
  for (const [slow, times] of [[1_500, 2], [800, 10], [3_000, 4]] as const) {
    const admission = create({ threads: 2 })
    learn(admission, 0, 5, 0, 300)
    learn(admission, 0, slow, 1_000, times)
    const burst = Array.from({ length: 200 }, (_, index) => new Job(String(index), { key: `client ${index % 20}` }))
    for (const job of burst) t.equal(admission.offer(job, 2_000), undefined, `${times} runs of ${slow} ms came before`)
    drain(admission, 2_000, 5)
    t.same(burst.filter(({ refusal }) => refusal !== undefined), [])
  }
  const steady = create({ threads: 2 })
  learn(steady, 0, 1_000, 0, MANY)
  occupy(steady, 2)
  for (let i = 0; i < 21; i++) steady.offer(new Job(String(i)), 1_000)
  t.match(steady.offer(new Job('too many'), 1_000), { reason: 'wait' }, 'a certain estimate refuses at once')
})

t.test('an estimate that nothing renews fades, so that a name refused because of it runs again', async (t) => {
  const admission = create()
  learn(admission, 0, 10_001, 0, MANY)
  occupy(admission)
  const ahead = new Job('ahead')
  admission.offer(ahead, 0)
  t.match(admission.offer(new Job('refused'), 0), { reason: 'wait' })
  admission.leave(ahead, 0)
  t.match(admission.offer(new Job('refused', { deadline: 5_000 }), 0), { reason: 'deadline' })
  t.equal(admission.offer(new Job('tried', { deadline: 45_000 }), 40_000), undefined)
})

t.test('an estimate that was wrong by 1000x heals, in overload and in either direction', async (t) => {
  for (const [wrong, right] of [[10_000, 10], [1, 1_000]] as const) {
    let runs = 0
    const length = { mean: right, sample: () => runs++ < 6 ? wrong : right }
    const rate = 2 * 2 * 1_000 / right
    const warm = 40_000
    const { total } = simulate({
      sources: [{ length, rate: 0, burst: 6 }, { length: fixed(right), rate, from: warm }],
      seed: 1,
      duration: warm + 20_000,
      patience: 60_000
    })
    const goodput = (total.served - 6) / (20 * rate / 2)
    t.ok(goodput >= 0.94, `${wrong} ms believed, ${right} ms true: ${goodput.toFixed(3)}`)
  }
})

t.test('long keys are not kept, and keys that begin alike stay apart', async (t) => {
  const long = 'x'.repeat(10_000_000)
  const [a, b] = [new Job('a', { key: `${long}a` }), new Job('b', { key: `${long}b` })]
  t.ok(a.key.length < 100)
  t.not(a.key, b.key)
  t.equal(a.key, new Job('again', { key: `${long}a` }).key)
  t.equal(new Job('short', { key: 'tenant' }).key, 'tenant')
})

t.test('a job whose time jumps from 1 ms to 10 s and back', async (t) => {
  const { each: [before, slow, after] } = simulate({
    sources: [
      { length: fixed(1), rate: 500, until: 5_000 },
      { length: fixed(10_000), rate: 0, burst: 4, from: 5_000 },
      { length: fixed(1), rate: 500, from: 30_000 }
    ],
    seed: 1,
    duration: 40_000,
    patience: 1_000
  })
  t.equal(before!.served, before!.arrived)
  t.equal(slow!.arrived, 4)
  t.ok(after!.served / after!.arrived > 0.98, `${after!.served} of ${after!.arrived} afterwards`)
})

t.test('all jobs time out: a thread that is free goes on trying', async (t) => {
  const admission = create({ threads: 2 })
  let tried = 0
  for (let now = 0; now < 100_000; now += 50) {
    const job = new Job('x', { deadline: now + 100 })
    admission.offer(job, now)
    const taken = admission.running < 2 ? admission.take(now) : undefined
    if (taken === undefined) continue
    tried++
    admission.finish(taken, now + 100, 100, 'censored')
  }
  t.equal(tried, 2_000)
  t.equal(admission.waiting, 0)
})

t.test('a name that never finishes holds its threads and no more than the bounds', async (t) => {
  const admission = create({ threads: 2, maxQueue: 10, concurrency: [Infinity, 1] })
  learn(admission, 0, 5)
  admission.offer(new Job('endless', { job: 1 }), 0)
  admission.take(0)
  for (let i = 0; i < 1_000; i++) admission.offer(new Job('endless too', { job: 1, key: `k${i % 7}` }), i)
  t.equal(admission.waiting, 10)
  for (let now = 0; now < 1_000; now += 10) {
    t.equal(admission.offer(new Job('short'), now), undefined)
    admission.finish(admission.take(now)!, now, 5, 'completed')
  }
  t.equal(admission.running, 1)
})

t.test('a clock that stands still, jumps back or jumps an hour', async (t) => {
  const admission = create({ threads: 2 })
  learn(admission, 0, 10)
  for (const now of [0, 0, HOUR, HOUR, -HOUR, -HOUR, 5 * HOUR, 1, 0]) {
    for (let i = 0; i < 500; i++) admission.offer(new Job(`${i}`, { key: `k${i % 3}` }), now)
    t.ok(admission.waiting > 0, `at ${now}`)
    drain(admission, now, 10)
    t.equal(admission.waiting, 0)
    t.equal(admission.offer(new Job('idle'), now), undefined, 'an idle pool refuses nothing')
    const idle = admission.take(now)!
    t.equal(idle.name, 'idle')
    t.equal(admission.offer(new Job('idle too'), -now), undefined)
    drain(admission, -now)
    admission.finish(idle, now, 10, 'completed')
    t.equal(admission.running, 0)
  }
})

t.test('every waiting client leaves at once', async (t) => {
  const admission = create({ threads: 2, ...patient })
  const running = occupy(admission, 2)
  const jobs = Array.from({ length: 1_000 }, (_, i) => new Job(`${i}`, { key: `k${i % 10}` }))
  for (const job of jobs) admission.offer(job, 0)
  t.equal(admission.waiting, 1_000)
  t.ok(jobs.every((job) => admission.leave(job, 500)))
  t.equal(admission.waiting, 0)
  t.equal(admission.take(500), undefined)
  for (const job of running) admission.finish(job, 500, 500, 'completed')
  t.equal(admission.keys, 0)
  t.equal(admission.offer(new Job('next'), 501), undefined)
})

t.test('threads that die faster than they start', async (t) => {
  const admission = create({ threads: 2, maxQueue: 10, ...patient })
  let finished = 0
  let offered = 0
  let most = 0
  for (let i = 0; i < 2_000; i++) {
    if (admission.offer(new Job(`${i}`), i) === undefined) offered++
    if (i % 3 === 0) continue
    const job = admission.take(i)
    if (job === undefined) continue
    if (i % 5 === 0) admission.finish(job, i, 1, 'completed')
    else admission.putBack(job)
    if (job.state === 'done') finished++
    most = Math.max(most, admission.waiting)
  }
  t.ok(most <= 12, `${most} waiting at most: the bound, and those on their way to two threads`)
  t.equal(finished + drain(admission, 2_000).length, offered, 'whoever was admitted ran')
})
