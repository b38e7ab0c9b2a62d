/**
 * A discrete-event simulation of a pool: the admission of plugins/workers, unchanged, in virtual time. Open-loop arrivals,
 * threads that are busy for as long as a job takes, clients that give up. Seeded: the same options give the same result.
 */
import { Admission, Entry, type AdmissionSettings } from '../../../plugins/core/line/admission.ts'
import type { Priority } from '../../../workers/jobs.ts'
import { admissionDefaults } from '../../../plugins/workers/options.ts'
import type { Refusal } from '../../../plugins/shared/errors.ts'

export type Random = () => number

/** Mulberry32: uniform in [0, 1). */
export function random (seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6D2B79F5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** The run time of a job, in ms. */
export interface RunTime {
  readonly mean: number
  sample (random: Random): number
}

export const fixed = (ms: number): RunTime => ({ mean: ms, sample: () => ms })
export const exponential = (mean: number): RunTime => ({ mean, sample: (random) => -mean * Math.log(1 - random()) })
export const mix = (share: number, a: RunTime, b: RunTime): RunTime => ({
  mean: share * a.mean + (1 - share) * b.mean,
  sample: (random) => (random() < share ? a : b).sample(random)
})
/** Bounded Pareto: heavy-tailed. */
export const pareto = (alpha: number, low: number, high: number): RunTime => ({
  mean: (low ** alpha / (1 - (low / high) ** alpha)) * (alpha / (alpha - 1)) * (low ** (1 - alpha) - high ** (1 - alpha)),
  sample: (random) => (-(random() * (high ** alpha - low ** alpha) - high ** alpha) / (high * low) ** alpha) ** (-1 / alpha)
})

export interface Source {
  length: RunTime
  /** Arrivals a second, Poisson. */
  rate: number
  job?: number
  key?: string
  priority?: Priority
  /** The first arrival is after this, in ms. */
  from?: number
  /** The last arrival is before this, in ms. */
  until?: number
  /** These clients give up after this, in ms, whatever the others' patience. */
  patience?: number
  /** This many arrive at once at `from`, instead of the Poisson stream. */
  burst?: number
  /** The burst comes again after this, in ms. */
  every?: number
  /** The deadline of its jobs, in ms from their arrival. */
  deadline?: number
}

export interface SimulationOptions {
  sources: readonly Source[]
  seed: number
  /** In ms. */
  duration: number
  threads?: number
  /** A client gives up after this, in ms. */
  patience?: number
  /** A client that gives up ends its job at once; else the job keeps its thread to its end. */
  cooperative?: boolean
  settings?: Partial<AdmissionSettings>
  /** Latencies before this are left out of the percentiles, in ms. */
  warmUp?: number
}

export interface Outcome {
  arrived: number
  served: number
  refused: number
  left: number
  /** Served a second. */
  rate: number
  /** Thread time spent on clients that were still there ÷ all thread time: goodput, without the chance of which run times were drawn. */
  useful: number
  /** The share that waited for more than 500 ms and was then refused or left. */
  inVain: number
  /** Of the latency of the served, after the warm-up, in ms. */
  p50: number
  p99: number
}

class Client extends Entry {
  readonly source: number
  readonly ms: number
  start = 0
  gone = false

  constructor (source: number, spec: Source, ms: number, now: number) {
    super(spec.job ?? 0, spec.key ?? 'one', spec.priority ?? 'normal', now + (spec.deadline ?? Infinity))
    this.source = source
    this.ms = ms
  }
}

interface Event {
  at: number
  order: number
  run: () => void
}

class Agenda {
  readonly #events: Event[] = []
  #order = 0

  add (at: number, run: () => void): void {
    const events = this.#events
    const event = { at, order: ++this.#order, run }
    let index = events.length
    while (index > 0) {
      const above = (index - 1) >> 1
      if (!earlier(event, events[above]!)) break
      events[index] = events[above]!
      index = above
    }
    events[index] = event
  }

  next (): Event | undefined {
    const events = this.#events
    const first = events[0]
    const last = events.pop()
    if (first === undefined || last === undefined || events.length === 0) return first
    let index = 0
    for (;;) {
      let below = 2 * index + 1
      if (below >= events.length) break
      if (below + 1 < events.length && earlier(events[below + 1]!, events[below]!)) below++
      if (!earlier(events[below]!, last)) break
      events[index] = events[below]!
      index = below
    }
    events[index] = last
    return first
  }
}

function earlier (a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

export interface Simulated {
  /** Of all sources together. */
  total: Outcome
  /** One a source. */
  each: Outcome[]
  refusals: Refusal[]
}

export function simulate (options: SimulationOptions): Simulated {
  const { sources, duration, threads = 2, patience = Infinity, cooperative = false, warmUp = 3_000 } = options
  const rng = random(options.seed)
  const agenda = new Agenda()
  const tallies = sources.map(() => ({ arrived: 0, served: 0, refused: 0, left: 0, ms: 0, inVain: 0, latencies: [] as number[] }))
  const running = new Set<Client>()
  const refusals: Refusal[] = []
  const names = Math.max(...sources.map(({ job = 0 }) => job)) + 1
  let now = 0

  const admission = new Admission<Client>({
    ...admissionDefaults, threads, concurrency: new Array<number>(names).fill(Infinity), ...options.settings
  }, refuse)

  function refuse (client: Client, refusal: Refusal): void {
    client.gone = true
    const tally = tallies[client.source]!
    tally.refused++
    if (now - client.arrived > 500) tally.inVain++
    refusals.push(refusal)
  }

  function dispatch (): void {
    while (admission.running < threads) {
      const client = admission.take(now)
      if (client === undefined) return
      client.start = now
      running.add(client)
      agenda.add(now + client.ms, () => end(client, client.ms, 'completed'))
    }
  }

  function end (client: Client, run: number, outcome: 'completed' | 'censored'): void {
    if (client.start === -1) return
    client.start = -1
    running.delete(client)
    if (!client.gone) {
      client.gone = true
      tallies[client.source]!.served++
      tallies[client.source]!.ms += client.ms
      if (client.arrived >= warmUp) tallies[client.source]!.latencies.push(now - client.arrived)
    }
    admission.finish(client, now, run, outcome)
    dispatch()
  }

  function giveUp (client: Client): void {
    if (client.gone) return
    client.gone = true
    const tally = tallies[client.source]!
    tally.left++
    if (now - client.arrived > 500) tally.inVain++
    if (!admission.leave(client, now) && cooperative) end(client, now - client.start, 'censored')
  }

  function arrive (index: number): void {
    const source = sources[index]!
    const client = new Client(index, source, source.length.sample(rng), now)
    tallies[index]!.arrived++
    const refusal = admission.offer(client, now)
    if (refusal !== undefined) return refuse(client, refusal)
    const limit = source.patience ?? patience
    if (limit !== Infinity) agenda.add(now + limit, () => giveUp(client))
    dispatch()
  }

  function stream (index: number, at: number): void {
    const { rate, until = duration } = sources[index]!
    const next = at - Math.log(1 - rng()) * 1_000 / rate
    if (next >= Math.min(until, duration)) return
    agenda.add(next, () => {
      arrive(index)
      stream(index, next)
    })
  }

  sources.forEach(({ from = 0, burst, every = Infinity, until = duration }, index) => {
    if (burst === undefined) return stream(index, from)
    for (let at = from; at <= until; at += every) for (let i = 0; i < burst; i++) agenda.add(at, () => arrive(index))
  })
  for (let event = agenda.next(); event !== undefined && event.at <= duration; event = agenda.next()) {
    now = event.at
    event.run()
  }
  for (const { source, start, gone } of running) if (!gone) tallies[source]!.ms += duration - start
  const outcome = (some: typeof tallies): Outcome => {
    const sum = (count: (tally: typeof tallies[number]) => number): number => some.reduce((total, tally) => total + count(tally), 0)
    const latencies = Float64Array.from(some.flatMap((tally) => tally.latencies)).sort()
    const percentile = (p: number): number => latencies.length === 0 ? NaN : latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * p))]!
    const served = sum((tally) => tally.served)
    return {
      arrived: sum((tally) => tally.arrived),
      served,
      refused: sum((tally) => tally.refused),
      left: sum((tally) => tally.left),
      rate: served * 1_000 / duration,
      useful: sum((tally) => tally.ms) / (threads * duration),
      inVain: sum((tally) => tally.inVain) / sum((tally) => tally.arrived),
      p50: percentile(0.5),
      p99: percentile(0.99)
    }
  }
  return { total: outcome(tallies), each: tallies.map((tally) => outcome([tally])), refusals }
}
