/**
 * The requests in flight, as a drainable. One rule: a request is in flight until its response has ended, or its client has left, AND
 * nothing of it runs any more: the hooks before its handler, the handler, error handlers, onResponse hooks.
 *
 * Either alone is wrong. When a client leaves, the response ends at once while the handler may be in the middle of a write; a hijacked
 * reply or a stream goes on long after its handler.
 *
 * Once the client has left, nothing here keeps the request or the reply alive, and what still runs is waited for only so long: a promise
 * that never settles must not hold up each shutdown.
 */
import { Socket } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { abortRequest } from '../../cancellation/disconnected.ts'
import type { Unfinished, Drainable } from '../../shared/drainables.ts'
import { ClosingError } from '../../shared/errors.ts'
import { LiveList, type Live } from '../../shared/dense-set.ts'
import { isHttp1, rawOf } from '../../shared/sockets.ts'
import { within } from '../../shared/within.ts'
import { observe, type Observer } from './contexts.ts'
import { createPipelines } from './pipelines.ts'

export interface InFlightOptions {
  /** How long what runs on is waited for after its client has left, in ms. */
  timeout: number
  /**
   * The same, where nothing tells whether anything runs: a handler without a promise that has not answered. A request of inject(), which has
   * no client who could leave, is then waited for only this long when a drain has begun.
   */
  grace: number
  now: () => number
}

export interface InFlight extends Drainable {
  enter (request: FastifyRequest, reply: FastifyReply): void
  /** The request is being answered, if by a hook before the handler: then the handler isn't called any more. */
  answered (request: FastifyRequest): void
  has (request: FastifyRequest): boolean
  /** The request isn't waited for, and isn't lost if it outlives the shutdown. */
  release (request: FastifyRequest): void
  /** Tells the client that its connection ends with the response. */
  tellToClose (reply: FastifyReply): void
  /** Stops waiting for requests that are always answered, and tells every client that its connection ends with the response. */
  windDown (isAlways: (request: FastifyRequest) => boolean): void
  /**
   * Gives up what has outlived its time after its client left, upgraded connections, which belong to who upgraded them, and requests of
   * inject() that nothing seems to run for.
   */
  sweep (): void
  /** Ends event streams of browsers, whose clients then connect to another server. */
  endEventStreams (): void
  /** Cuts every connection that still has a request on it. */
  cut (): void
  /** Cuts them, and waits for nothing. */
  drop (): void
}

export const kEntry = Symbol('fastify-concurrency.inFlight')

declare module 'fastify' {
  interface FastifyRequest {
    /** @internal Null before the request has entered; undefined if Fastify made it without decorators. */
    [kEntry]?: Entry | null
  }
}

const entryOf = (request: FastifyRequest): Entry | null | undefined => request[kEntry]

/** How many entries whose client has left are kept before they are looked through for the first time. */
const LOOK_THROUGH = 64

const EVENT_STREAM = /^content-type: *text\/event-stream/im

/** @internal */
export class Entry implements Live, Observer {
  liveAt = -1
  readonly since: number
  /** Undefined once the client has left or the response has ended. */
  request: FastifyRequest | undefined
  reply: FastifyReply | undefined
  /** When the response ended or the client left. */
  closedAt = Infinity
  /** How many handlers and hooks of the request are known to run. */
  running = 0
  /** Somebody is still to answer: a hook before the handler, the handler, an error handler, a callback. */
  unanswered = true
  /** The handler was called: before that, hooks are at it. */
  handled = false
  /** The handler returned a thenable whose end only the answer tells. */
  thenable = false
  /** Liveness probes, dashboards and whoever asked for the shutdown aren't waited for. */
  awaited = true
  /** Reported as unfinished: never counted as completed. */
  lost = false
  failed = false
  /** For a report, once the request is gone. */
  #name: string | undefined
  #id: string | undefined
  /** A reply that was collected can't be answered by anybody: nothing of the request runs any more. */
  #reply: WeakRef<FastifyReply> | undefined
  readonly #settle: (entry: Entry) => void

  /** @param settle called, once the client has left, when something of the request has ended */
  constructor (request: FastifyRequest, reply: FastifyReply, since: number, settle: (entry: Entry) => void) {
    this.request = request
    this.reply = reply
    this.since = since
    this.#settle = settle
  }

  get open (): boolean { return this.closedAt === Infinity }
  get busy (): boolean { return this.open || this.running > 0 || this.unanswered }
  get name (): string { return this.#name ?? nameOf(this.request!) }
  get id (): string { return this.#id ?? this.request!.id }

  began (): void {
    this.handled = true
    this.running++
  }

  ended (answers: boolean): void {
    this.running--
    if (this.open) return
    // Fastify's own reaction to the same promise comes next: it may answer, or call an error handler.
    queueMicrotask(() => {
      if (answers && this.running === 0) this.unanswered = false
      this.#settle(this)
    })
  }

  returnedThenable (): void { this.thenable = true }

  answered (): void {
    this.unanswered = false
    if (!this.open) this.#settle(this)
  }

  close (now: number): void {
    const { request, reply } = this
    this.closedAt = now
    if (request === undefined || reply === undefined) return
    this.request = this.reply = undefined
    this.failed = reply.statusCode >= 499
    // Answered past Fastify, hijacked, or, by a hook, with the end of the connection.
    if (reply.sent || reply.raw.headersSent || (!this.handled && wasCutByServer(reply))) this.unanswered = false
    if (!this.busy) return
    this.#name = nameOf(request)
    this.#id = request.id
    this.#reply = new WeakRef(reply)
  }

  /** Whether something of it is known to run, or may. */
  get runs (): boolean { return this.running > 0 || this.thenable || !this.handled }

  get isCollected (): boolean { return this.#reply !== undefined && this.#reply.deref() === undefined }

  /** A WebSocket, say: its connection isn't Fastify's any more, and belongs to who upgraded it. */
  get isUpgraded (): boolean {
    if (this.reply?.sent !== true || this.reply.raw.writableEnded) return false
    const { upgrade, headers } = this.reply.raw.req as { upgrade?: boolean | null, headers: { upgrade?: string } }
    return upgrade ?? headers.upgrade !== undefined
  }

  /** A request of inject() of which nothing is known to run. Fastify's own close() doesn't wait for it either. */
  get isStrayInjection (): boolean {
    const { reply } = this
    if (reply === undefined || (this.runs && (!reply.sent || this.running > 0))) return false
    const raw = rawOf(reply)
    return isHttp1(raw) && !(raw.req.socket instanceof Socket)
  }
}

function nameOf (request: FastifyRequest): string {
  return `${request.method} ${request.routeOptions.url ?? request.url}`
}

/** A hook may refuse a client by ending its connection, and never call `done`. */
function wasCutByServer (reply: FastifyReply): boolean {
  const raw = rawOf(reply)
  const socket: Socket | undefined = raw.req.socket
  return isHttp1(raw) && socket?.destroyed === true && !socket.readableEnded && socket.errored === null
}

/** Decorates requests. */
export function createInFlight (app: FastifyInstance, { timeout, grace, now }: InFlightOptions): InFlight {
  app.decorateRequest(kEntry, null)
  const open = new LiveList<Entry>()
  /** Those whose client has left while something of them may run. */
  const left = new Set<Entry>()
  /** The size of `left` at which it is looked through again. */
  let lookThroughAt = LOOK_THROUGH
  const { onClose, tellToClose } = createPipelines()
  let waiters: Array<() => void> = []
  let awaited = 0
  let completed = 0
  let draining = false
  /** Until when a request is waited for of which nothing tells whether it will be answered. */
  let strayUntil = Infinity
  let givingUp = false
  const lost: Unfinished[] = []

  function close (entry: Entry): void {
    if (!entry.open) return
    entry.close(now())
    open.delete(entry)
    if (!entry.busy) return end(entry)
    left.add(entry)
    if (left.size < lookThroughAt) return
    lookThrough()
    lookThroughAt = Math.max(LOOK_THROUGH, 2 * left.size)
  }

  function settle (entry: Entry): void {
    if (!entry.busy && left.delete(entry)) end(entry)
  }

  function end (entry: Entry): void {
    // Past the deadline an error tells the client that what it waited for was given up.
    if (entry.awaited && !entry.lost && !(givingUp && entry.failed)) completed++
    forget(entry)
  }

  /** Gives up what has outlived its time since its client left. Amortized, it costs each entry a few steps. */
  function lookThrough (): void {
    const time = now()
    for (const entry of left) {
      if (!entry.isCollected && time < entry.closedAt + (entry.runs ? timeout : grace)) continue
      left.delete(entry)
      // Work that a shutdown waited for and gave up is reported; of what may long have ended there is nothing to report.
      if (draining && entry.awaited && !entry.lost && entry.running > 0 && !entry.isCollected) lost.push(describe(entry))
      forget(entry)
    }
  }

  function forget (entry: Entry): void {
    if (!entry.awaited) return
    entry.awaited = false
    if (--awaited > 0) return
    for (const resolve of waiters) resolve()
    waiters = []
  }

  const describe = (entry: Entry): Unfinished => ({
    kind: 'request', name: entry.name, id: entry.id, ageMs: Math.round(now() - entry.since), attempt: 1
  })

  function held (): Entry[] {
    if (!draining) lookThrough()
    return [...open.all(), ...left].filter(({ awaited }) => awaited)
  }

  const inFlight: InFlight = {
    name: 'requests',
    phase: 'requests',
    get completed () { return completed },
    get pending () {
      if (!draining) lookThrough()
      return awaited
    },

    enter (request, reply) {
      const entry = new Entry(request, reply, now(), settle)
      open.add(entry)
      request[kEntry] = entry
      awaited++
      observe(request, entryOf)
      onClose(request, reply, () => close(entry))
    },

    answered (request) { entryOf(request)?.answered() },

    tellToClose,

    has (request) {
      const entry = entryOf(request)
      return entry != null && (entry.open || left.has(entry))
    },

    release (request) {
      const entry = entryOf(request)
      if (entry != null) forget(entry)
    },

    windDown (isAlways) {
      for (const entry of open.all()) {
        if (entry.reply !== undefined) tellToClose(entry.reply)
        if (entry.request !== undefined && isAlways(entry.request)) forget(entry)
      }
    },

    sweep () {
      // Past the deadline all that is left is reported.
      if (!givingUp) lookThrough()
      for (const entry of open.all()) if (entry.isUpgraded || (now() >= strayUntil && entry.isStrayInjection)) forget(entry)
    },

    endEventStreams () {
      for (const { request, reply } of open.all()) {
        if (request !== undefined && reply !== undefined && isEventStream(request, reply)) endStream(reply)
      }
    },

    cut () {
      for (const { reply } of open.all()) reply?.raw.destroy()
    },

    drop () {
      for (const entry of [...open.all(), ...left]) forget(entry)
      inFlight.cut()
    },

    // The gate is a hook: see index.ts.
    close () {
      // Called again past the deadline, when all that is left is reported.
      if (draining) return
      inFlight.sweep()
      draining = true
      strayUntil = now() + grace
    },

    idle: () => awaited === 0 ? Promise.resolve() : new Promise((resolve) => { waiters.push(resolve) }),

    held: () => held().sort((a, b) => a.since - b.since).map(describe),

    lost: () => lost,

    async giveUp (grace) {
      givingUp = true
      // Jobs and tasks are given up in the same turn: a request that waits for one rejects with that error, which says more.
      await Promise.resolve()
      const reason = new ClosingError('The service')
      for (const { request, awaited } of open.all()) if (awaited && request !== undefined) abortRequest(request, reason)
      await within(grace, inFlight.idle())
      const unfinished = inFlight.held?.() ?? []
      for (const entry of held()) entry.lost = true
      inFlight.cut()
      return unfinished
    }
  }
  return inFlight
}

/**
 * Whether a browser's EventSource reads the response: it only sends GET, and connects again when its stream ends. An event stream that answers
 * a POST (of a language model, say) is one answer in parts, and is waited for like any other.
 */
function isEventStream (request: FastifyRequest, reply: FastifyReply): boolean {
  const raw = rawOf(reply)
  if (request.method !== 'GET' || !raw.headersSent || raw.writableEnded) return false
  return EVENT_STREAM.test(isHttp1(raw) ? sentHeaders(raw) : `content-type: ${String(raw.stream.sentHeaders?.['content-type'])}`)
}

/** Headers passed to writeHead() are nowhere but in what was sent. */
function sentHeaders (raw: object): string {
  return (raw as { _header?: string })._header ?? ''
}

/** Who writes to the stream may not have heard yet that it has ended; without a listener, the error of that write would end the process. */
function endStream (reply: FastifyReply): void {
  const raw = rawOf(reply)
  const { socket } = reply.raw
  raw.on('error', () => {})
  // The stream was sent as keep-alive. NestJS lets go of it only when its connection ends.
  raw.end(() => { if (isHttp1(raw)) socket?.end() })
}
