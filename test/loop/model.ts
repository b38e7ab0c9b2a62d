/**
 * A model of the event loop in virtual time: timers, poll with one accepted connection a turn, check. The gate and the
 * pump of plugins/loop run in it unchanged. Seeded: the same options give the same result.
 */
import { Gate, HeldEntry, type LoopRefusal, type Started } from '../../plugins/loop/gate.ts'
import { loopDefaults } from '../../plugins/loop/options.ts'
import { Pump } from '../../plugins/loop/pump.ts'
import type { Route } from '../../plugins/loop/routes.ts'
import { Agenda } from '../core/line/agenda.ts'
import { random, type RunTime } from '../core/line/random.ts'

/** What the loop spends on a request beside its handler, and on a refusal, in ms. */
const READ = 0.06
const WRITE = 0.06
const ACCEPT = 0.1
/** What a turn costs in which nothing happens, in ms. */
const TURN = 0.01

/** Where requests come from: a Poisson stream, a burst, or clients that wait for each answer before they ask again. */
export interface Source {
  /** What the handler computes at once, in ms. */
  sync?: RunTime
  /** How long it then waits for a database, in ms ±20 %, and what it computes after that. */
  database?: number
  after?: RunTime
  /** Requests a second. */
  rate?: number
  /** So many at `from`, in place of the stream. */
  burst?: number
  /** The burst comes again after this, in ms. */
  every?: number
  /** A closed loop of so many clients. */
  clients?: number
  /** The pause of a client between an answer and its next request, in ms. */
  think?: number
  from?: number
  until?: number
  key?: string
  /** The index of the route. @default a route of its own for each source */
  route?: number
  /** The requests are divided between so many keys; Infinity for a key of its own for each. */
  keys?: number
  /** Clients leave after this, in ms. */
  patience?: number
  /** Each request comes on a connection of its own. */
  fresh?: boolean
  /** Never held: a probe. */
  exempt?: boolean
  /** A refused client comes back once, when it was told to. */
  retries?: boolean
}

export interface Options {
  sources: readonly Source[]
  seed: number
  duration: number
  /** Without the gate, as bare Fastify. */
  bare?: boolean
  /** Latencies before this are left out of the percentiles, in ms. */
  warmUp?: number
  /** Now and then a timer of nobody holds the loop for up to `most` ms. */
  stalls?: { every: number, most: number }
  settings?: Partial<typeof loopDefaults>
}

export class Tally {
  arrived = 0
  served = 0
  refused = 0
  /** Requests that were refused after a wait of more than 500 ms, or whose clients left. */
  inVain = 0
  left = 0
  /** Refused a second time, of those that came back when they were told to. */
  refusedAgain = 0
  cameBack = 0
  /** Loop time of requests whose clients had their answers, and of all, in ms. */
  useful = 0
  asked = 0
  readonly latencies: number[] = []

  get p99 (): number {
    const sorted = Float64Array.from(this.latencies).sort()
    return sorted.length === 0 ? NaN : sorted[Math.min(sorted.length - 1, Math.floor(0.99 * sorted.length))]!
  }
}

/**
 * Where the subject of an event is called: when its connection is accepted, when its socket is polled, as a timer; or
 * outside of the process, at its own time.
 */
const CONNECT = 0
const POLL = 1
const TIMER = 2
const OUTSIDE = 3

interface Client {
  readonly source: number
  readonly key: string
  readonly asked: number
  readonly sync: number
  readonly after: number
  isGone: boolean
  isBack: boolean
  entry: ModelEntry | undefined
  started: Started | undefined
}

class ModelEntry extends HeldEntry {
  client: Client | undefined
}

export interface Simulated {
  each: Tally[]
  /** Useful loop time ÷ what was asked for, at most all loop time. */
  useful: number
  /** The share of the time in which the loop was idle. */
  idle: number
  gate: Gate<ModelEntry>
}

type Subject = () => void

export function simulate (options: Options): Simulated {
  const { sources, seed, duration, bare = false, warmUp = 2_000, stalls, settings } = options
  const rng = random(seed)
  const agenda = new Agenda<Subject>()
  const each = sources.map(() => new Tally())
  let now = 0
  let idle = 0
  let turns = 0
  let immediates: Array<() => void> = []
  const soon: Array<() => void> = []
  let ready: Subject[] = []
  const connecting: Subject[] = []

  const gate = new Gate<ModelEntry>({ ...loopDefaults, ...settings }, 0, 0, (entry, refusal) => refuse(entry.client!, refusal))
  const pump = new Pump<ModelEntry>(gate, {
    now: () => now,
    idle: () => idle,
    turns: () => turns,
    turn: (fn) => { immediates.push(fn) },
    soon: (fn) => { soon.push(fn) },
    after: (ms, fn) => schedule(now + Math.ceil(ms), TIMER, fn)
  }, begin, 200, () => {})
  const routes: Route[] = sources.map((_, index) => gate.routes.add(`GET /${index}`))
  const routeOf = (source: number): Route => routes[sources[source]!.route ?? source]!

  /** The next event, once somebody has looked at it. */
  let event: { at: number, kind: number, subject: Subject } | undefined
  function schedule (at: number, kind: number, subject: Subject): void {
    if (event !== undefined && at < event.at) {
      agenda.add(event.at, event.kind, event.subject)
      event = undefined
    }
    agenda.add(at, kind, subject)
  }

  function ask (source: number, key: string, isBack = false): void {
    const { sync, after, patience = Infinity, fresh = false } = sources[source]!
    const client: Client = {
      source,
      key,
      asked: now,
      sync: sync?.sample(rng, now) ?? 0,
      after: after?.sample(rng, now) ?? 0,
      isGone: false,
      isBack,
      entry: undefined,
      started: undefined
    }
    const tally = each[source]!
    if (isBack) tally.cameBack++
    else tally.arrived++
    tally.asked += client.sync + client.after
    if (now + patience <= duration) schedule(now + patience, POLL, () => leave(client))
    schedule(now, fresh ? CONNECT : POLL, () => arrive(client))
  }

  function run (client: Client, started: Started | undefined): void {
    client.started = started
    now += client.sync
    const { database } = sources[client.source]!
    if (database === undefined) return answer(client)
    schedule(now + database * (0.8 + 0.4 * rng()), POLL, () => answer(client))
  }

  function answer (client: Client): void {
    now += client.after
    if (client.started !== undefined) pump.answered(client.started)
    now += WRITE
    const { source, asked } = client
    const tally = each[source]!
    if (client.isGone || now - asked > (sources[source]!.patience ?? Infinity)) return
    client.isGone = true
    tally.served++
    tally.useful += client.sync + client.after
    if (asked >= warmUp) tally.latencies.push(now - asked)
    again(client)
  }

  function again ({ source, key }: Client): void {
    const { clients, think = 0, until = duration } = sources[source]!
    if (clients !== undefined && now + think < until) later(now + think, source, key)
  }

  function later (at: number, source: number, key: string, isBack = false): void {
    schedule(at, OUTSIDE, () => ask(source, key, isBack))
  }

  function refuse (client: Client, { retryAfter }: LoopRefusal): void {
    now += WRITE
    client.isGone = true
    const { source, key, isBack } = client
    const tally = each[source]!
    tally.refused++
    if (now - client.asked > 500) tally.inVain++
    if (isBack) tally.refusedAgain++
    const { retries = false, clients, until = duration } = sources[source]!
    if (retries && !isBack) later(now + retryAfter * 1_000, source, key, true)
    else if (clients !== undefined && now + 200 < until) later(now + 200, source, key)
  }

  function begin (entry: ModelEntry): void {
    pump.begin(entry, (started) => pump.run(started, () => run(entry.client!, started)))
  }

  function arrive (client: Client): void {
    if (client.isGone) return
    now += READ
    if (bare) return run(client, undefined)
    const at = pump.arrived()
    const route = routeOf(client.source)
    if (sources[client.source]!.exempt === true || pump.passes(route, at)) {
      const started = gate.pass(route, at)
      return pump.run(started, () => run(client, started))
    }
    const entry = new ModelEntry(route, client.key, 'normal')
    entry.client = client
    client.entry = entry
    const refusal = pump.hold(entry, at)
    if (refusal !== undefined) refuse(client, refusal)
  }

  function leave (client: Client): void {
    if (client.isGone) return
    client.isGone = true
    const tally = each[client.source]!
    tally.left++
    tally.inVain++
    if (client.entry !== undefined) gate.leave(client.entry, now)
    again(client)
  }

  /** The next request of a Poisson stream. */
  function stream (source: number): void {
    ask(source, keyOf(source))
    const { rate = 0, until = duration } = sources[source]!
    const at = now - Math.log(1 - rng()) * 1_000 / rate
    if (at < until) schedule(at, OUTSIDE, () => stream(source))
  }

  function burst (source: number): void {
    const { burst: requests = 0, every, until = duration } = sources[source]!
    for (let i = 0; i < requests; i++) ask(source, keyOf(source))
    if (every !== undefined && now + every < until) schedule(now + every, OUTSIDE, () => burst(source))
  }

  function keyOf (source: number): string {
    const { key = 'one', keys = 1 } = sources[source]!
    return keys === 1 ? key : `${key} ${keys === Infinity ? each[source]!.arrived : Math.floor(rng() * keys)}`
  }

  for (const [index, { rate, burst: requests, clients, from = 0, key = 'one', keys = 1 }] of sources.entries()) {
    if (rate !== undefined) schedule(from - Math.log(1 - rng()) * 1_000 / rate, OUTSIDE, () => stream(index))
    if (requests !== undefined) schedule(from, OUTSIDE, () => burst(index))
    for (let i = 0; i < (clients ?? 0); i++) later(from + rng() * 100, index, keys === 1 ? key : `${key} ${keys === Infinity ? i : i % keys}`)
  }
  if (stalls !== undefined) schedule(stalls.every, TIMER, stall)
  function stall (): void {
    now += rng() * stalls!.most
    schedule(now - Math.log(1 - rng()) * stalls!.every, TIMER, stall)
  }

  let timers: Subject[] = []
  function peek (): number {
    if (event === undefined && agenda.next()) event = { at: agenda.at, kind: agenda.kind, subject: agenda.subject! }
    return event?.at ?? Infinity
  }

  /** Lets happen what has happened outside while the loop was busy: each at its own time. */
  function outside (): void {
    const loopTime = now
    while (peek() <= loopTime) {
      const { at, kind, subject } = event!
      event = undefined
      now = at
      if (kind === OUTSIDE) subject()
      else if (kind === TIMER) timers.push(subject)
      else if (kind === POLL) ready.push(subject)
      else connecting.push(subject)
    }
    now = loopTime
  }

  while (now < duration) {
    outside()
    const due = timers
    timers = []
    for (const timer of due) timer()
    outside()
    if (ready.length === 0 && connecting.length === 0 && timers.length === 0 && immediates.length === 0) {
      const at = Math.min(peek(), duration)
      idle += at - now
      now = at
      outside()
    }
    const polled = ready
    ready = []
    const request = connecting.shift()
    if (request !== undefined) {
      now += ACCEPT
      gate.connected()
      // The request is there already, and is read with the next poll.
      ready.push(request)
    }
    for (const read of polled) {
      read()
      for (; soon.length > 0;) soon.shift()!()
    }
    now += TURN
    turns++
    const checks = immediates
    immediates = []
    for (const check of checks) check()
  }
  const useful = each.reduce((sum, tally) => sum + tally.useful, 0)
  const asked = each.reduce((sum, tally) => sum + tally.asked, 0)
  return { each, useful: useful / Math.min(asked, duration), idle: idle / duration, gate }
}
