/**
 * The last refusals, failures and changes of state, each with its cause in words. Under overload there are thousands a
 * second, so all of one cause are one card, which counts on, and the number of cards has a bound.
 */
import type { FastifyInstance } from 'fastify'
import { currentRequest } from '../cancellation/index.ts'
import { originOf, type Origin } from '../cancellation/origin.ts'
import { listen, type ChannelMessages } from '../channel-messages.ts'
import { code, duration, errorWords, jobRefused, limitBusy, limitRefused, loopRefused, phaseEntered, threadEnded } from './words.ts'

/** All that has happened for one cause. */
export interface Incident {
  id: number
  /** When the first one happened, in ms since 1970. */
  first: number
  /** When the first one after a quiet minute happened, in ms since 1970. */
  since: number
  /** When the latest one happened, in ms since 1970. */
  at: number
  kind: 'refused' | 'failed' | 'noted'
  /** What was refused or has failed, for example `job search`. */
  subject: string
  /** Method and pattern of the routes, for example `GET /search`, with their counts, the highest first. */
  routes: Array<{ route: string, count: number }>
  /** The cause of the latest one, in words. */
  reason: string
  /** The Retry-After of the latest refusal, in seconds. */
  retryAfter: number | undefined
  /** The client that most of the last minute's refusals are of, and its share of them, from 0 to 1. */
  client: { client: string, share: number } | undefined
  /** How many there were. */
  count: number
}

/** What is known when something happens. The cause is put into words once a second, for the latest of its kind. */
interface Report {
  kind: Incident['kind']
  subject: string
  /** Tells causes of a subject apart. */
  code: string
  origin?: Origin
  reason: () => string
  retryAfter?: number | undefined
}

interface Card {
  readonly incident: Incident
  readonly routes: Map<string, number>
  /** The latest since the last call of take(). */
  latest: Report | undefined
}

/** After so many ms without another one, a card begins anew with its times. */
const QUIET_MS = 60_000
/** The most cards. page/lists.js shows as many. */
const MAX_CARDS = 100
/** A card that was quiet for so many ms makes room for another one; otherwise that one is counted with others. */
const KEPT_MS = 10_000
/** The routes of a card that are counted, and those that are shown. */
const MAX_ROUTES = 30
const SHOWN_ROUTES = 4

export class Incidents {
  readonly #unlisten: Array<() => void>
  /** By cause. */
  readonly #cards = new Map<string, Card>()
  readonly #mostRefused: (subject: string) => Incident['client']
  #id = 0

  /** @param mostRefused names the client that most refusals of a subject are of */
  constructor ({ server }: FastifyInstance, mostRefused: (subject: string) => Incident['client']) {
    this.#mostRefused = mostRefused
    const on = <Name extends keyof ChannelMessages>(name: Name, report: (message: ChannelMessages[Name]) => Report | undefined): (() => void) =>
      listen(server, name, (message) => {
        const reported = report(message)
        if (reported !== undefined) this.#add(reported)
      })
    // Tasks and locks refuse in the context of their caller; jobs and limits say themselves who it was.
    const ambient = (): Origin => originOf(currentRequest())
    const failed = (subject: string, error: unknown, origin?: Origin): Report =>
      ({ kind: 'failed', subject, code: 'failed', reason: () => errorWords(error), ...(origin !== undefined && { origin }) })
    let isStopping = false

    this.#unlisten = [
      on('fastify-concurrency:workers:refused', (message) =>
        ({ kind: 'refused', subject: `job ${message.name}`, code: causeOf(message.reason), origin: message, reason: () => jobRefused(message), retryAfter: message.retryAfter })),
      on('fastify-concurrency:limiter:refused', (message) =>
        ({ kind: 'refused', subject: `limit ${message.policy}`, code: '', origin: message, reason: () => limitRefused(message), retryAfter: message.retryAfter })),
      on('fastify-concurrency:limiter:busy', (message) =>
        ({ kind: 'refused', subject: `limit ${message.policy}`, code: causeOf(message.reason), origin: message, reason: () => limitBusy(message), retryAfter: message.retryAfter })),
      on('fastify-concurrency:tasks:refused', ({ name, reason, error }) =>
        ({ kind: 'refused', subject: `task ${name}`, code: reason, origin: ambient(), reason: () => errorWords(error), retryAfter: retryAfterOf(error) })),
      on('fastify-concurrency:tasks:duplicate', ({ name }) =>
        ({ kind: 'noted', subject: `task ${name}`, code: 'duplicate', origin: ambient(), reason: () => 'it was not accepted: a task with its id waits or runs already' })),
      on('fastify-concurrency:locks:refused', ({ name, reason, error }) =>
        ({ kind: 'refused', subject: name, code: reason, origin: ambient(), reason: () => errorWords(error), retryAfter: retryAfterOf(error) })),
      on('fastify-concurrency:loop:refused', (message) =>
        ({ kind: 'refused', subject: 'request', code: `loop ${message.reason}`, origin: message, reason: () => loopRefused(message), retryAfter: message.retryAfter })),
      on('fastify-concurrency:loop:stalled', ({ ms, route, sure }) => ({
        kind: 'failed',
        subject: 'event loop',
        code: route ?? '',
        reason: () => `${route === undefined ? 'something' : code(route)} ${sure ? 'held' : 'perhaps held'} it for ${duration(ms)}, and nobody was served meanwhile`
      })),
      on('fastify-concurrency:lifecycle:refused', ({ phase, method, route }) =>
        ({ kind: 'refused', subject: 'request', code: phase, origin: { requestId: undefined, method, route }, reason: () => 'the service is shutting down, and takes no new requests' })),
      on('fastify-concurrency:workers:crashed', (message) => failed(`job ${message.name}`, message.error, message)),
      on('fastify-concurrency:workers:expired', (message) => ({
        kind: 'failed',
        subject: `job ${message.name}`,
        code: message.where,
        origin: message,
        reason: () => `its deadline of ${duration(message.timeout)} passed while it ${message.where === 'queued' ? 'waited for a thread' : 'ran'}`
      })),
      on('fastify-concurrency:workers:thread-ended', (message) => message.why === 'closed'
        ? undefined
        : { kind: 'failed', subject: `thread ${message.thread} of ${message.pool}`, code: message.why, reason: () => threadEnded(message) }),
      on('fastify-concurrency:tasks:failed', ({ name, error }) => failed(`task ${name}`, error)),
      on('fastify-concurrency:tasks:leaked', ({ name }) => failed(`task ${name}`, new Error('its function ignores its signal and runs on; its slot goes to others'))),
      on('fastify-concurrency:locks:hold-exceeded', ({ name, heldMs }) => noted(name, `a lock has been held for ${duration(heldMs)}, longer than maxHold`)),
      on('fastify-concurrency:limiter:store-failed', ({ error }) =>
        ({ kind: 'failed', subject: 'limiter', code: 'failed', reason: () => `Redis is away, and each policy does what its \`onStoreError\` says. The error of Redis: ${errorWords(error)}` })),
      on('fastify-concurrency:limiter:store-recovered', ({ durationMs }) => noted('limiter', `Redis is back after ${duration(durationMs)}`)),
      on('fastify-concurrency:lifecycle:entered', (message) => {
        const reason = phaseEntered(message, !isStopping)
        isStopping = true
        return noted('shutdown', reason)
      })
    ]
  }

  /** Adds what somebody did, or another change of state. */
  note (subject: string, reason: string): void {
    this.#add(noted(subject, reason))
  }

  /** Returns the incidents that are new or have changed since the last call. One that has changed keeps its id. */
  take (): Incident[] {
    const taken: Incident[] = []
    for (const { incident, routes, latest } of this.#cards.values()) {
      if (latest === undefined) continue
      incident.reason = latest.reason()
      incident.retryAfter = latest.retryAfter
      incident.client = incident.kind === 'refused' ? this.#mostRefused(incident.subject) : undefined
      incident.routes = [...routes].map(([route, count]) => ({ route, count })).sort((a, b) => b.count - a.count)
        .slice(0, SHOWN_ROUTES)
      taken.push(incident)
    }
    for (const card of this.#cards.values()) card.latest = undefined
    return taken.sort(byBeginning)
  }

  /** The incidents that were taken, in the order of their beginnings. */
  get kept (): readonly Incident[] {
    return [...this.#cards.values()].map(({ incident }) => incident).filter(({ reason }) => reason !== '').sort(byBeginning)
  }

  close (): void {
    for (const unlisten of this.#unlisten.splice(0)) unlisten()
  }

  #add (report: Report): void {
    const now = Date.now()
    const { kind, subject, origin } = report
    const key = [kind, subject, report.code].join('\0')
    const card = this.#cards.get(key) ?? this.#begin(key, kind, subject, now)
    if (card === undefined) return this.#add(further)
    const { incident, routes } = card
    if (now - incident.at > QUIET_MS) incident.since = now
    card.latest = report
    incident.count++
    incident.at = now
    if (origin?.method === undefined) return
    const route = `${origin.method} ${origin.route ?? '(no route)'}`
    if (routes.size < MAX_ROUTES || routes.has(route)) routes.set(route, (routes.get(route) ?? 0) + 1)
  }

  /** Begins a card, if there is room for it. */
  #begin (key: string, kind: Incident['kind'], subject: string, now: number): Card | undefined {
    if (this.#cards.size >= MAX_CARDS && key !== FURTHER) {
      const [oldest, { incident }] = [...this.#cards].reduce((a, b) => b[1].incident.at < a[1].incident.at ? b : a)
      if (now - incident.at < KEPT_MS) return undefined
      this.#cards.delete(oldest)
    }
    const incident: Incident = {
      id: ++this.#id,
      first: now,
      since: now,
      at: now,
      kind,
      subject,
      routes: [],
      reason: '',
      retryAfter: undefined,
      client: undefined,
      count: 0
    }
    const card: Card = { incident, routes: new Map(), latest: undefined }
    this.#cards.set(key, card)
    return card
  }
}

/** Of a line that has too much to do, which bound is met first is chance: all of them are one cause. */
const bounds: ReadonlySet<string> = new Set(['count', 'wait', 'deadline', 'shed'])
const causeOf = (reason: string): string => bounds.has(reason) ? 'overload' : reason

const byBeginning = (a: Incident, b: Incident): number => a.since - b.since || a.id - b.id

const noted = (subject: string, reason: string): Report => ({ kind: 'noted', subject, code: reason, reason: () => reason })

const further: Report = { kind: 'refused', subject: 'others', code: '', reason: () => 'more kinds of refusals and failures than this page shows' }
const FURTHER = [further.kind, further.subject, further.code].join('\0')

function retryAfterOf (error: Error): number | undefined {
  const { retryAfter } = error as { retryAfter?: unknown }
  return typeof retryAfter === 'number' ? retryAfter : undefined
}
