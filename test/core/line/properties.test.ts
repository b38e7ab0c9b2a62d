// What holds whatever happens, in any order: arrivals, threads that take, finish and die, clients that leave, a clock that misbehaves.
import fc from 'fast-check'
import t from 'tap'
import { Admission, Entry, type RunOutcome } from '../../../plugins/core/line/admission.ts'
import type { Priority } from '../../../workers/jobs.ts'

const HOUR = 3_600_000

type Step =
  | { do: 'offer', job: number, key: string, priority: Priority, patience: number }
  | { do: 'take' }
  | { do: 'takeShort', budget: number }
  | { do: 'finish', which: number, run: number, outcome: RunOutcome }
  | { do: 'putBack', which: number }
  | { do: 'leave', which: number }
  | { do: 'die' }
  | { do: 'pass', ms: number }

const offer = fc.record({
  do: fc.constant('offer' as const),
  job: fc.nat(2),
  key: fc.constantFrom('a', 'b', 'c'),
  priority: fc.constantFrom<Priority>('high', 'normal', 'low'),
  patience: fc.constantFrom(Infinity, Infinity, 50, 5_000)
})
const take = fc.constant<Step>({ do: 'take' })
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: offer },
  { weight: 4, arbitrary: take },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('takeShort' as const), budget: fc.constantFrom(1, 100) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('finish' as const),
      which: fc.nat(),
      run: fc.constantFrom(0, 0.01, 5, 50, 10_000, -1),
      outcome: fc.constantFrom<RunOutcome>('completed', 'completed', 'censored', 'unknown')
    })
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('putBack' as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('leave' as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.constant<Step>({ do: 'die' }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(0, 1, 50, 700, HOUR, -HOUR) }) }
)

const settings = { threads: 2, maxWait: 2_000, orderWait: 300, targetWait: 100 }

/** A pool that believes nothing: it keeps its own books, and compares. */
class Suspicious {
  readonly concurrency = [Infinity, 1, 2]
  readonly waiting = new Set<Entry>()
  readonly taken = new Set<Entry>()
  readonly gone = new Set<Entry>()
  readonly admission: Admission<Entry>
  readonly maxQueue: number
  threads = settings.threads
  now = 0

  constructor (maxQueue: number) {
    this.maxQueue = maxQueue
    this.admission = new Admission({ ...settings, maxQueue, concurrency: this.concurrency }, (entry, refusal) => {
      this.holds(this.waiting.delete(entry), 'only what waits is refused, and once')
      this.holds(Number.isInteger(refusal.retryAfter) && refusal.retryAfter >= 1, 'Retry-After is in whole seconds')
      this.gone.add(entry)
    })
  }

  holds (condition: boolean, promise: string): void {
    if (!condition) throw new Error(promise)
  }

  of (set: Set<Entry>, job: number): number {
    return [...set].filter((entry) => entry.job === job).length
  }

  /** What waits for nothing but a thread. */
  get runnable (): number {
    return this.concurrency.reduce((sum, cap, job) => sum + Math.min(this.of(this.waiting, job), cap - this.of(this.taken, job)), 0)
  }

  pick (set: Set<Entry>, which: number): Entry | undefined {
    return [...set][which % set.size]
  }

  run (step: Step): void {
    const { admission, waiting, taken, gone } = this
    switch (step.do) {
      case 'offer': return this.offer(step)
      case 'take': return this.took(admission.take(this.now))
      case 'takeShort': return this.took(admission.takeShort(this.now, step.budget), true)
      case 'finish': {
        const entry = this.pick(taken, step.which)
        if (entry === undefined) return
        taken.delete(entry)
        gone.add(entry)
        return admission.finish(entry, this.now, step.run, step.outcome)
      }
      case 'putBack': {
        const entry = this.pick(taken, step.which)
        if (entry === undefined) return
        taken.delete(entry)
        waiting.add(entry)
        return admission.putBack(entry)
      }
      case 'leave': {
        const all = new Set([...waiting, ...taken, ...gone])
        const entry = this.pick(all, step.which)
        if (entry === undefined) return
        const waited = waiting.delete(entry)
        if (waited) gone.add(entry)
        return this.holds(admission.leave(entry, this.now) === waited, 'leave() tells whether it waited')
      }
      case 'die': {
        // A thread dies with all that was handed to it: the first ran, the others never started.
        const [first, ...others] = taken
        if (first === undefined) return
        taken.delete(first)
        gone.add(first)
        admission.finish(first, this.now, 1, 'unknown')
        for (const entry of others) {
          taken.delete(entry)
          waiting.add(entry)
          admission.putBack(entry)
        }
        return
      }
      case 'pass': this.now += step.ms
    }
  }

  offer ({ job, key, priority, patience }: Extract<Step, { do: 'offer' }>): void {
    const entry = new Entry(job, key, priority, this.now + patience)
    const before = this.waiting.size
    const idle = this.threads - this.taken.size > this.runnable
    const capped = this.of(this.waiting, job) + this.of(this.taken, job) >= this.concurrency[job]!
    const isLate = [...this.waiting].some(({ since }) => this.now - since > settings.maxWait)
    const admits = this.admission.admits(new Entry(job, key, priority, this.now + patience), this.now)
    this.audit()
    const refusal = this.admission.offer(entry, this.now)
    // What has waited too long is refused first, which may make the difference.
    if (!isLate) this.holds(admits === (refusal === undefined), 'whether a job is admitted can be known before')
    if (refusal === undefined) this.waiting.add(entry)
    else this.holds(!idle || capped, 'an idle thread always admits')
    // A free thread's jobs are on their way to it; and one put back had been admitted before.
    const bound = this.maxQueue + Math.max(0, this.threads - this.taken.size)
    this.holds(this.waiting.size <= Math.max(before, bound), 'never more waiting than the bound')
  }

  took (entry: Entry | undefined, short = false): void {
    if (entry === undefined) return this.holds(short || this.runnable === 0, 'a thread that asks gets what there is')
    for (const other of this.waiting) {
      if (other === entry || other.key !== entry.key || other.priority !== entry.priority) continue
      const comparable = this.concurrency[other.job] === Infinity || other.job === entry.job
      if (!comparable) continue
      this.holds(other.sequence > entry.sequence, 'first in, first out within a key and class')
    }
    this.holds(this.waiting.delete(entry), 'nothing is taken twice, nor without having been admitted')
    this.taken.add(entry)
    this.holds(this.of(this.taken, entry.job) <= this.concurrency[entry.job]!, 'no name holds more threads than its cap')
  }

  audit (): void {
    this.holds(this.admission.waiting === this.waiting.size, 'nothing that waits is lost')
    this.holds(this.admission.running === this.taken.size, 'nothing that runs is lost')
  }

  drain (): void {
    for (let rounds = 0; this.waiting.size > 0 || this.taken.size > 0; rounds++) {
      this.holds(rounds < 10_000, 'what was admitted ends')
      if (this.waiting.size > 0) this.run({ do: 'take' })
      this.run({ do: 'finish', which: 0, run: 1, outcome: 'completed' })
      this.audit()
    }
    this.holds(this.admission.keys === 0, 'nothing is remembered of keys once all is done')
  }
}

t.test('nothing is lost, run twice or let past a bound, whatever happens', async () => {
  fc.assert(fc.property(fc.array(step, { maxLength: 200, size: 'max' }), fc.constantFrom(0, 1, 3, 20), (steps, maxQueue) => {
    const pool = new Suspicious(maxQueue)
    for (const step of steps) {
      pool.run(step)
      pool.audit()
    }
    pool.drain()
  }), { numRuns: 20_000 })
})

t.test('keys of one class that always have jobs waiting get the same thread time', async () => {
  const cost = fc.double({ min: 0.1, max: 100, noNaN: true })
  fc.assert(fc.property(fc.array(cost, { minLength: 2, maxLength: 6 }), fc.integer({ min: 1, max: 4 }), (costs, threads) => {
    // Each key has its own job, of its own length.
    const admission = new Admission<Entry>(
      { threads, maxQueue: 1_000, maxWait: Infinity, orderWait: Infinity, targetWait: Infinity, concurrency: costs.map(() => Infinity) },
      () => {})
    let now = 0
    const offer = (job: number): void => {
      if (admission.offer(new Entry(job, `key ${job}`, 'normal', Infinity), now) !== undefined) throw new Error('refused')
    }
    costs.forEach((ms, job) => {
      offer(job)
      admission.finish(admission.take(now)!, now, ms, 'completed')
    })
    costs.forEach((_, job) => { for (let i = 0; i < 3; i++) offer(job) })
    const time = costs.map(() => 0)
    const running: { entry: Entry, end: number }[] = []
    for (let i = 0; i < 400; i++) {
      while (running.length < threads) {
        const entry = admission.take(now)!
        time[entry.job]! += costs[entry.job]!
        offer(entry.job)
        running.push({ entry, end: now + costs[entry.job]! })
      }
      running.sort((a, b) => a.end - b.end)
      const { entry, end } = running.shift()!
      now = end
      admission.finish(entry, now, costs[entry.job]!, 'completed')
      // A quantum is one job of the key itself: it can be ahead by the one just taken, behind by the one to come.
      for (let a = 0; a < costs.length; a++) {
        for (let b = 0; b < costs.length; b++) {
          if (Math.abs(time[a]! - time[b]!) > costs[a]! + costs[b]! + 1e-6) throw new Error(`${time.join(' ')} of ${costs.join(' ')}`)
        }
      }
    }
  }), { numRuns: 300 })
})

t.test('thread time is what a run measured, not what was expected', async () => {
  // One name, so one estimate; the runs of one key are 20 times as long as those of the other.
  fc.assert(fc.property(fc.integer({ min: 2, max: 50 }), fc.integer({ min: 1, max: 3 }), (factor, threads) => {
    const admission = new Admission<Entry>(
      { threads, maxQueue: 1_000, maxWait: Infinity, orderWait: Infinity, targetWait: Infinity, concurrency: [Infinity] }, () => {})
    const lengths: Record<string, number> = { short: 1, long: factor }
    const time: Record<string, number> = { short: 0, long: 0 }
    let now = 0
    const offer = (key: string): void => { admission.offer(new Entry(0, key, 'normal', Infinity), now) }
    for (const key of Object.keys(lengths)) for (let i = 0; i < 60; i++) offer(key)
    const running: { entry: Entry, end: number }[] = []
    for (let i = 0; i < 3_000; i++) {
      while (running.length < threads) {
        const entry = admission.take(now)!
        running.push({ entry, end: now + lengths[entry.key]! })
        offer(entry.key)
      }
      running.sort((a, b) => a.end - b.end)
      const { entry, end } = running.shift()!
      now = end
      time[entry.key]! += lengths[entry.key]!
      admission.finish(entry, now, lengths[entry.key]!, 'completed')
    }
    const difference = Math.abs(time['short']! - time['long']!)
    if (difference > 2 * factor * (threads + 1)) throw new Error(`${JSON.stringify(time)} with ${threads} threads, factor ${factor}`)
  }), { numRuns: 100 })
})

t.test('a key gains at most one job by leaving and coming back', async (t) => {
  const admission = new Admission<Entry>({ ...settings, threads: 1, maxQueue: 100, maxWait: Infinity, orderWait: Infinity, targetWait: Infinity, concurrency: [Infinity] }, () => {})
  const served: Record<string, number> = { stays: 0, leaves: 0 }
  let now = 0
  const offer = (key: string): void => { admission.offer(new Entry(0, key, 'normal', Infinity), now) }
  for (let i = 0; i < 20; i++) offer('stays')
  offer('leaves')
  for (let i = 0; i < 1_000; i++) {
    const entry = admission.take(now)!
    now += 10
    served[entry.key]!++
    admission.finish(entry, now, 10, 'completed')
    // It has nothing waiting and nothing running in between.
    offer(entry.key)
  }
  t.ok(Math.abs(served['stays']! - served['leaves']!) <= 2, JSON.stringify(served))
})
