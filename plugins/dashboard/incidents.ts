/**
 * The last refusals, failures and changes of state, each with its cause in words. Under overload there are thousands a second, so equal ones within ten
 * seconds are one incident with a count and the latest cause, and the number of incidents has a bound.
 */
import { createHmac, randomBytes } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { currentRequest } from '../cancellation/index.ts'
import { originOf, type Origin } from '../cancellation/origin.ts'
import { listen, type ChannelMessages } from '../channel-messages.ts'
import { duration, errorWords, jobRefused, limitRefused, phaseEntered, threadEnded } from './words.ts'

export interface Incident {
  id: number
  /** When the first one happened, in ms since 1970. */
  since: number
  /** When the latest one happened, in ms since 1970. */
  at: number
  kind: 'refused' | 'failed' | 'noted'
  /** What was refused or has failed, for example `job search`. */
  subject: string
  /** Method and pattern of the route, for example `GET /search`; undefined outside a request. */
  route: string | undefined
  /** The cause of the latest one, in words. */
  reason: string
  /** The Retry-After of the latest refusal, in seconds. */
  retryAfter: number | undefined
  /** A digest of the first one's key of a client, to tell clients apart. */
  client: string | undefined
  /** How many equal ones there were. */
  count: number
}

/** What is known when something happens. The cause is put into words once a second, for the latest of its kind. */
interface Report {
  kind: Incident['kind']
  subject: string
  /** Tells incidents of a subject apart, as the reason does, but without its numbers. */
  code: string
  origin?: Origin
  reason: () => string
  retryAfter?: number | undefined
  key?: string
}

interface Current {
  readonly incident: Incident
  /** The latest since the last call of take(). */
  latest: Report | undefined
}

/** The time, in ms, in which equal ones are one incident. */
const EPISODE_MS = 10_000
/** The most incidents of that time; further ones are counted in one of their own. */
const MAX_CURRENT = 30
/** The most incidents that are kept for a page that is opened later. page/lists.js shows as many. */
const MAX_KEPT = 100

export class Incidents {
  readonly #unlisten: Array<() => void>
  /** The incidents of the last ten seconds, by what makes them equal. */
  readonly #current = new Map<string, Current>()
  #kept: Incident[] = []
  #id = 0
  /** Addresses are few enough to be found by trying them all, so their digests have a secret of the process. */
  readonly #secret = randomBytes(16)

  constructor ({ server }: FastifyInstance) {
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
        ({ kind: 'refused', subject: `job ${message.name}`, code: message.reason, origin: message, reason: () => jobRefused(message), retryAfter: message.retryAfter })),
      on('fastify-concurrency:limiter:refused', (message) =>
        ({ kind: 'refused', subject: `limit ${message.policy}`, code: '', origin: message, reason: () => limitRefused(message), retryAfter: message.retryAfter, key: message.key })),
      on('fastify-concurrency:tasks:refused', ({ name, reason, error }) =>
        ({ kind: 'refused', subject: `task ${name}`, code: reason, origin: ambient(), reason: () => errorWords(error), retryAfter: retryAfterOf(error) })),
      on('fastify-concurrency:tasks:duplicate', ({ name }) =>
        ({ kind: 'noted', subject: `task ${name}`, code: 'duplicate', origin: ambient(), reason: () => 'it was not accepted: a task with its id waits or runs already' })),
      on('fastify-concurrency:locks:refused', ({ name, reason, error }) =>
        ({ kind: 'refused', subject: name, code: reason, origin: ambient(), reason: () => errorWords(error), retryAfter: retryAfterOf(error) })),
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
        ({ kind: 'failed', subject: 'limiter', code: 'failed', reason: () => `its store is away, and each policy decides as its onStoreError says: ${errorWords(error)}` })),
      on('fastify-concurrency:limiter:store-recovered', ({ durationMs }) => noted('limiter', `its store is back after ${duration(durationMs)}`)),
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

  /** Returns the incidents that are new or have changed since the last call, the oldest first. One that has changed has the id that it had. */
  take (): Incident[] {
    const taken: Incident[] = []
    for (const [key, current] of this.#current) {
      const { incident, latest } = current
      if (latest !== undefined) {
        incident.reason = latest.reason()
        incident.retryAfter = latest.retryAfter
        current.latest = undefined
        taken.push(incident)
      }
      if (Date.now() - incident.since > EPISODE_MS) this.#current.delete(key)
    }
    const known = new Set(this.#kept)
    this.#kept = [...this.#kept, ...taken.filter((incident) => !known.has(incident))].slice(-MAX_KEPT)
    return taken
  }

  /** The incidents that were taken, the oldest first. */
  get kept (): readonly Incident[] {
    return this.#kept
  }

  close (): void {
    for (const unlisten of this.#unlisten.splice(0)) unlisten()
  }

  #add (report: Report): void {
    const { kind, subject, code, origin } = report
    const key = [kind, subject, code, origin?.method, origin?.route].join('\0')
    const isNew = !this.#current.has(key)
    if (isNew && key !== FURTHER && this.#current.size >= MAX_CURRENT) return this.#add(further)
    const current = this.#current.get(key) ?? this.#begin(key, report)
    current.latest = report
    current.incident.count++
    current.incident.at = Date.now()
  }

  #begin (key: string, { kind, subject, origin, key: client }: Report): Current {
    const route = origin?.method === undefined ? undefined : `${origin.method} ${origin.route ?? '(no route)'}`
    const digest = client === undefined || client === '' ? undefined : createHmac('sha256', this.#secret).update(client).digest('hex').slice(0, 8)
    const incident = { id: ++this.#id, since: Date.now(), at: 0, kind, subject, route, reason: '', retryAfter: undefined, client: digest, count: 0 }
    const current = { incident, latest: undefined }
    this.#current.set(key, current)
    return current
  }
}

const noted = (subject: string, reason: string): Report => ({ kind: 'noted', subject, code: reason, reason: () => reason })

const further: Report = { kind: 'refused', subject: 'others', code: '', reason: () => 'more kinds of refusals and failures than this page shows' }
const FURTHER = [further.kind, further.subject, further.code, undefined, undefined].join('\0')

function retryAfterOf (error: Error): number | undefined {
  const { retryAfter } = error as { retryAfter?: unknown }
  return typeof retryAfter === 'number' ? retryAfter : undefined
}
