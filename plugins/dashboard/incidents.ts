/**
 * The last refusals, failures and changes of state, each with its cause in words. Under overload there are thousands a second, so equal ones of one
 * second are one incident with a count, and both the incidents of a second and those that are kept have a bound.
 */
import { createHmac, randomBytes } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { currentRequest } from '../cancellation/index.ts'
import { originOf, type Origin } from '../cancellation/origin.ts'
import { listen, type ChannelMessages } from '../channel-messages.ts'
import { duration, errorWords, jobRefused, limitRefused, threadEnded } from './words.ts'

export interface Incident {
  id: number
  /** When the first one happened, in ms since 1970. */
  at: number
  kind: 'refused' | 'failed' | 'noted'
  /** What was refused or has failed, for example `job search`. */
  subject: string
  /** Method and pattern of the route, for example `GET /search`; undefined outside a request. */
  route: string | undefined
  /** The cause of the first one, in words. */
  reason: string
  /** In seconds. */
  retryAfter: number | undefined
  /** A digest of the client's key, to tell clients apart. */
  client: string | undefined
  /** How many equal ones there were within the second. */
  count: number
}

/** What is known of an incident when it happens; the rest is worked out for the first of its kind in a second. */
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

/** Incidents of a second; the further ones are counted in the last. */
const MOST_A_SECOND = 30
/** Incidents that are kept for a page that is opened later. */
const KEPT = 100

export class Incidents {
  readonly #unlisten: Array<() => void>
  /** The incidents since the last call of take(), by what makes them equal. */
  #fresh = new Map<string, Incident>()
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
    const noted = (subject: string, reason: string): Report => ({ kind: 'noted', subject, code: reason, reason: () => reason })

    this.#unlisten = [
      on('fastify-concurrency:workers:refused', (message) =>
        ({ kind: 'refused', subject: `job ${message.name}`, code: message.reason, origin: message, reason: () => jobRefused(message), retryAfter: message.retryAfter })),
      on('fastify-concurrency:limiter:refused', (message) =>
        ({ kind: 'refused', subject: `limit ${message.policy}`, code: '', origin: message, reason: () => limitRefused(message), retryAfter: message.retryAfter, key: message.key })),
      on('fastify-concurrency:tasks:refused', ({ name, error }) =>
        ({ kind: 'refused', subject: `task ${name}`, code: codeOf(error), origin: ambient(), reason: () => errorWords(error), retryAfter: retryAfterOf(error) })),
      on('fastify-concurrency:locks:refused', ({ name, error }) =>
        ({ kind: 'refused', subject: name, code: codeOf(error), origin: ambient(), reason: () => errorWords(error), retryAfter: retryAfterOf(error) })),
      on('fastify-concurrency:lifecycle:refused', ({ phase, method, route }) =>
        ({ kind: 'refused', subject: 'request', code: phase, origin: { requestId: undefined, method, route }, reason: () => 'the service is shutting down, and takes no new requests' })),
      on('fastify-concurrency:workers:crashed', (message) => failed(`job ${message.name}`, message.error, message)),
      on('fastify-concurrency:workers:timed-out', (message) => ({
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
      on('fastify-concurrency:limiter:store-failed', ({ error }) => failed('limiter', new Error(`its store is away, and each policy decides as its onStoreError says: ${error.message}`))),
      on('fastify-concurrency:limiter:store-recovered', ({ durationMs }) => noted('limiter', `its store is back after ${duration(durationMs)}`)),
      on('fastify-concurrency:lifecycle:entered', ({ phase, reason }) => noted('shutdown', phase === 'leaving' || phase === 'requests' ? `phase ${phase}, because of ${reason}` : `phase ${phase}`))
    ]
  }

  /** Returns the incidents since the last call, the oldest first. */
  take (): Incident[] {
    if (this.#fresh.size === 0) return []
    const fresh = [...this.#fresh.values()]
    this.#fresh = new Map()
    this.#kept = [...this.#kept, ...fresh].slice(-KEPT)
    return fresh
  }

  /** The incidents that were taken last, the oldest first. */
  get kept (): readonly Incident[] {
    return this.#kept
  }

  close (): void {
    for (const unlisten of this.#unlisten.splice(0)) unlisten()
  }

  #add (report: Report): void {
    const { kind, subject, code, origin } = report
    const key = [kind, subject, code, origin?.method, origin?.route].join('\0')
    const known = this.#fresh.get(key)
    if (known !== undefined) known.count++
    else if (this.#fresh.size < MOST_A_SECOND) this.#fresh.set(key, this.#incident(report))
    else this.#addFurther()
  }

  #incident ({ kind, subject, origin, reason, retryAfter, key }: Report): Incident {
    const route = origin?.method === undefined ? undefined : `${origin.method} ${origin.route ?? '(no route)'}`
    const client = key === undefined || key === '' ? undefined : createHmac('sha256', this.#secret).update(key).digest('hex').slice(0, 8)
    return { id: ++this.#id, at: Date.now(), kind, subject, route, reason: reason(), retryAfter, client, count: 1 }
  }

  #addFurther (): void {
    const further = this.#fresh.get('')
    if (further !== undefined) further.count++
    else this.#fresh.set('', this.#incident({ kind: 'refused', subject: 'others', code: '', reason: () => 'more kinds of refusals and failures than the page shows for one second' }))
  }
}

function codeOf (error: Error): string {
  return String((error as { code?: unknown }).code)
}

function retryAfterOf (error: Error): number | undefined {
  const { retryAfter } = error as { retryAfter?: unknown }
  return typeof retryAfter === 'number' ? retryAfter : undefined
}
