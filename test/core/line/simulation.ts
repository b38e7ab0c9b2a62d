/**
 * A discrete-event simulation of a pool: the admission of plugins/workers, unchanged, in virtual time. Open and
 * closed loops of clients, threads that are busy for as long as a job takes, clients that give up and come again, an
 * event loop that stalls. Seeded: the same options give the same result.
 */
import * as ours from '../../../plugins/core/line/admission.ts'
import { admissionDefaults } from '../../../plugins/workers/options.ts'
import type { Refusal } from '../../../plugins/shared/errors.ts'
import type { Priority } from '../../../workers/jobs.ts'
import { Agenda } from './agenda.ts'
import { random, type RunTime } from './random.ts'
import { Tally } from './tally.ts'

export { drifting, around, exponential, fixed, mix, pareto, random, type Random, type RunTime } from './random.ts'
export type Outcome = Tally

/** What a simulation drives: the module of our admission, or a variant of it. */
export type AdmissionModule = Pick<typeof ours, 'Admission' | 'Entry'>

/** Where jobs come from: a Poisson stream, bursts, or clients that wait for each answer before they ask again. */
export interface Source {
  length: RunTime
  /** Arrivals a second, Poisson. */
  rate?: number
  /** The arrivals are evenly spaced. */
  regular?: boolean
  /** This many arrive at once at `from`, instead of the stream. */
  burst?: number
  /** The burst comes again after this, in ms. */
  every?: number
  /** A closed loop: this many clients, each with one request at a time, that begin within `spread` ms of `from`. */
  clients?: number
  spread?: number
  /** A client of a closed loop asks again this long after its answer, or after it gave up, in ms. */
  think?: number
  /** It asks again this long after a refusal, in ms, or when the refusal says. @default 200 */
  retry?: number | 'after'
  /**
   * How many keys the jobs are divided between; Infinity for a key of its own for each job, or for each client of a
   * closed loop. @default 1
   */
  keys?: number
  key?: string
  job?: number
  priority?: Priority
  /** The first arrival is after this, in ms. */
  from?: number
  /** The last arrival is before this, in ms. */
  until?: number
  /** Who is still there leaves at this time, in ms. */
  end?: number
  /** These clients give up after this, in ms, whatever the others' patience. */
  patience?: number
  /** The deadline of its jobs, in ms from their arrival. */
  deadline?: number
  /** Nothing can be learned from how long its jobs run. */
  unmeasured?: boolean
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
  settings?: Partial<ours.AdmissionSettings>
  /** Latencies before this are left out of the percentiles, in ms. */
  warmUp?: number
  /** Parts of the simulation that are tallied by themselves, in ms. */
  windows?: ReadonlyArray<readonly [from: number, to: number]>
  /**
   * Now and then the event loop stalls for up to `most` ms: nothing is told to the admission until then, and then
   * everything at once.
   */
  stalls?: { every: number, most: number }
  /** The event loop is slow: it hears of the end of a job this much later, in ms, and the thread waits meanwhile. */
  late?: number
  admission?: AdmissionModule
}

/** One client of a closed loop. */
export interface User {
  readonly source: number
  readonly key: string
  served: number
  /** Thread time that it was given and that it was still there for, in ms, and what began in the last window. */
  ms: number
  lately: number
}

export interface Tallies {
  /** Of all sources together. */
  total: Tally
  /** One a source. */
  each: Tally[]
}

export interface Simulated extends Tallies {
  windows: Tallies[]
  users: User[]
  refusals: Refusal[]
  /** The most keys of which something was remembered, and those at the end. */
  keys: { most: number, end: number }
  /** How long the event loop stalled in all, in ms. */
  stalled: number
}

const END = 0
const LEAVE = 1
const ARRIVE = 2
const ASK = 3

interface Client extends ours.Entry {
  source: number
  ms: number
  /** When the client sent its request, which the admission hears of when the event loop runs. */
  asked: number
  /** Jobs of other sources that threads had begun when the client asked. */
  before: number
  start: number
  gone: boolean
  user: User | undefined
}

type ClientClass = new (job: number, key: string, priority: Priority, deadline: number) => Client
const clientClasses = new WeakMap<AdmissionModule, ClientClass>()

function clientClass (module: AdmissionModule): ClientClass {
  const known = clientClasses.get(module)
  if (known !== undefined) return known
  class SimulatedClient extends module.Entry {
    source = 0
    ms = 0
    asked = 0
    before = 0
    start = 0
    gone = false
    user: User | undefined = undefined
  }
  clientClasses.set(module, SimulatedClient)
  return SimulatedClient
}

/** The open-loop arrivals of a source. */
interface Stream {
  readonly index: number
  readonly keys: readonly string[]
  arrived: number
}

export function simulate (options: SimulationOptions): Simulated {
  const { sources, duration, threads = 2, patience = Infinity, cooperative = false, warmUp = 3_000 } = options
  const { windows = [], stalls, late = 0, admission: module = ours } = options
  const rng = random(options.seed)
  const stall = random(options.seed)
  const agenda = new Agenda<Client | Stream | User>()
  const EntryOfClient = clientClass(module)
  const tally = (from: number, to: number): Tally[] => sources.map(() => new Tally(threads, from, to))
  const whole = tally(0, duration)
  const parts = windows.map(([from, to]) => tally(from, to))
  const lastWindow = windows.at(-1)?.[0] ?? 0
  const running = new Set<Client>()
  const users: User[] = []
  const refusals: Refusal[] = []
  const names = Math.max(...sources.map(({ job = 0 }) => job)) + 1
  const keys = { most: 0, end: 0 }
  /** Jobs that threads have begun, of all sources and of each. */
  let begun = 0
  const begunOf = new Array<number>(sources.length).fill(0)
  let now = 0
  let offered = 0

  const admission = new module.Admission<Client>({
    ...admissionDefaults, threads, concurrency: new Array<number>(names).fill(Infinity), ...options.settings
  }, refuse)

  /** Counts what became of a client. The whole simulation counts those, too, that asked after the end of it. */
  function gone (client: Client, what: 'refused' | 'left'): void {
    client.gone = true
    const { source, asked } = client
    whole[source]!.gone(what, now - asked)
    for (const part of parts) if (part[source]!.has(asked)) part[source]!.gone(what, now - asked)
  }

  function ran (client: Client, end: number): void {
    const { source, start } = client
    whole[source]!.ran(start, end, !client.gone)
    for (const part of parts) part[source]!.ran(start, end, !client.gone)
    if (client.gone || client.user === undefined) return
    client.user.ms += end - start
    if (start >= lastWindow) client.user.lately += end - start
  }

  function served (client: Client): void {
    const { source, asked } = client
    const latency = now - asked
    for (const tallies of [whole, ...parts]) {
      const tally = tallies[source]!
      if (tallies !== whole && !tally.has(asked)) continue
      tally.served++
      if (latency > tally.longest) tally.longest = latency
      if (asked < warmUp && tallies === whole) continue
      tally.latencies.push(latency)
      // A job that a thread takes as soon as one is free has waited for one turn.
      tally.turns.push(client.start === asked ? 0 : client.before + 1)
      tally.waits.push(client.start - asked)
    }
    if (client.user !== undefined) client.user.served++
  }

  function refuse (client: Client, refusal: Refusal): void {
    refusals.push(refusal)
    gone(client, 'refused')
    if (client.user === undefined) return
    const { retry = 200 } = sources[client.source]!
    agenda.add(now + (retry === 'after' ? refusal.retryAfter * 1_000 : retry), ASK, client.user)
  }

  function again (client: Client): void {
    if (client.user !== undefined) agenda.add(now + (sources[client.source]!.think ?? 0), ASK, client.user)
  }

  function dispatch (): void {
    while (admission.running < threads) {
      const client = admission.take(now)
      if (client === undefined) return
      client.start = now
      client.before = begun - begunOf[client.source]! - client.before
      begun++
      begunOf[client.source]!++
      running.add(client)
      agenda.add(now + client.ms + late, END, client)
    }
  }

  function end (client: Client, run: number, outcome: ours.RunOutcome): void {
    if (client.start === -1) return
    running.delete(client)
    const held = now - client.start
    ran(client, client.start + run + late)
    if (!client.gone) {
      served(client)
      client.gone = true
      again(client)
    }
    client.start = -1
    admission.finish(client, now, run, outcome, held)
    dispatch()
  }

  function giveUp (client: Client): void {
    if (client.gone) return
    gone(client, 'left')
    if (!admission.leave(client, now) && cooperative) end(client, now - client.start, 'censored')
    again(client)
  }

  function arrive (index: number, key: string, asked: number, user?: User): void {
    const source = sources[index]!
    const { job = 0, priority = 'normal', deadline = Infinity } = source
    const client = new EntryOfClient(job, key, priority, asked + deadline)
    client.source = index
    client.ms = source.length.sample(rng, asked)
    client.asked = asked
    client.before = begun - begunOf[index]!
    client.user = user
    whole[index]!.asked(client.ms)
    for (const part of parts) if (part[index]!.has(asked)) part[index]!.asked(client.ms)
    if (++offered % 256 === 0) keys.most = Math.max(keys.most, admission.keys)
    const refusal = admission.offer(client, now)
    if (refusal !== undefined) return refuse(client, refusal)
    const leaves = Math.min(asked + (source.patience ?? patience), source.end ?? Infinity)
    if (leaves <= duration) agenda.add(leaves, LEAVE, client)
    dispatch()
  }

  function next (stream: Stream, at: number): void {
    const { rate = 0, regular = false, until = duration } = sources[stream.index]!
    if (rate === 0) return
    const time = at + (regular ? 1 : -Math.log(1 - rng())) * 1_000 / rate
    if (time < Math.min(until, duration)) agenda.add(time, ARRIVE, stream)
  }

  function keyOf ({ index, keys, arrived }: Stream): string {
    const { key = 'one', burst, keys: count = 1 } = sources[index]!
    if (count === Infinity) return `${key} ${arrived}`
    return keys[count === 1 ? 0 : burst === undefined ? Math.floor(rng() * count) : arrived % count]!
  }

  function begin (source: Source, index: number): void {
    const { from = 0, burst, clients, spread = 0, every = Infinity, until = duration } = source
    const { key = 'one', keys: count = 1 } = source
    if (clients !== undefined) {
      for (let i = 0; i < clients; i++) {
        const own = count === 1 ? key : `${key} ${count === Infinity ? i : i % count}`
        const user: User = { source: index, key: own, served: 0, ms: 0, lately: 0 }
        users.push(user)
        agenda.add(from + rng() * spread, ASK, user)
      }
      return
    }
    const named = count === 1 ? [key] : count === Infinity ? [] : Array.from({ length: count }, (_, i) => `${key} ${i}`)
    const stream: Stream = { index, keys: named, arrived: 0 }
    if (burst === undefined) return next(stream, from)
    for (let at = from; at <= until; at += every) for (let i = 0; i < burst; i++) agenda.add(at, ARRIVE, stream)
  }

  sources.forEach(begin)
  const gap = (): number => stalls === undefined ? Infinity : -Math.log(1 - stall()) * stalls.every
  let stallAt = gap()
  let awakeAt = 0
  let stalled = 0
  while (agenda.next() && agenda.at <= duration) {
    const { at, kind, subject } = agenda
    while (at >= stallAt) {
      const ms = stall() * stalls!.most
      stalled += ms
      awakeAt = stallAt + ms
      stallAt = awakeAt + gap()
    }
    now = Math.max(at, awakeAt)
    if (kind === END) {
      const client = subject as Client
      end(client, client.ms, sources[client.source]!.unmeasured === true ? 'unknown' : 'completed')
    } else if (kind === LEAVE) giveUp(subject as Client)
    else if (kind === ARRIVE) {
      const stream = subject as Stream
      const key = keyOf(stream)
      stream.arrived++
      arrive(stream.index, key, at)
      if (sources[stream.index]!.burst === undefined) next(stream, at)
    } else {
      const user = subject as User
      if (at < (sources[user.source]!.until ?? duration)) arrive(user.source, user.key, at, user)
    }
  }
  for (const client of running) ran(client, duration)
  keys.most = Math.max(keys.most, admission.keys)
  keys.end = admission.keys
  const tallies = (each: Tally[]): Tallies => ({ total: Tally.sum(each), each })
  return { ...tallies(whole), windows: parts.map(tallies), users, refusals, keys, stalled }
}
