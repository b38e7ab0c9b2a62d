/**
 * OpenRequest is one request in flight: whether its client is there, and whether something of it runs. Once the client has left, it keeps
 * neither the request nor the reply alive.
 */
import { Socket } from 'node:net'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { DenseSetMember } from '../../shared/collections/dense-set.ts'
import type { Unfinished } from '../../shared/drainables.ts'
import { heldRequests } from '../../shared/http/request-work.ts'
import { hasBegun, hasEnded, isHttp1, rawOf } from '../../shared/http/response.ts'
import type { Observer } from './contexts.ts'

/** @internal */
export class OpenRequest implements DenseSetMember, Observer {
  denseIndex = -1
  readonly since: number
  /** Undefined once the client has left or the response has ended. */
  reply: FastifyReply | undefined
  /** When the response ended or the client left. */
  closedAt = Infinity
  /** How many handlers and hooks of the request are known to run. */
  running = 0
  /** True until a hook, the handler, an error handler or a callback has answered. */
  unanswered = true
  /** The handler was called. Until then, hooks run. */
  handled = false
  /** The handler returned a thenable whose end only the answer tells. */
  thenable = false
  /** False for what a drain doesn't wait for: liveness probes, dashboards, and the request that asked for the shutdown. */
  awaited = true
  /** The report of the shutdown names the request as unfinished. Such a request never counts as completed. */
  lost = false
  failed = false
  /** For a report, once the request is gone. */
  #described: { name: string, id: string } | undefined
  #isFinished = false
  #listeners: Array<() => void> | undefined
  readonly #settle: (entry: OpenRequest) => void

  /** @param settle is called, once the client has left, when something of the request has ended */
  constructor (reply: FastifyReply, since: number, settle: (entry: OpenRequest) => void) {
    this.reply = reply
    this.since = since
    this.#settle = settle
  }

  /** Calls `listener` once, when nothing of the request runs any more, or nobody waits for it any longer. */
  onEnded (listener: () => void): void {
    if (this.#isFinished) listener()
    else this.#listeners = [...this.#listeners ?? [], listener]
  }

  finish (): void {
    this.#isFinished = true
    const listeners = this.#listeners
    this.#listeners = undefined
    if (listeners !== undefined) for (const listener of listeners) listener()
  }

  get open (): boolean { return this.closedAt === Infinity }
  get busy (): boolean { return this.open || this.running > 0 || this.unanswered }

  /** Tells whether something of the request is known to run, or may run. */
  get runs (): boolean { return this.running > 0 || this.thenable || !this.handled }

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

  /** The response has ended, or the client has left. */
  close (now: number): void {
    const { reply } = this
    this.closedAt = now
    if (reply === undefined) return
    this.reply = undefined
    this.failed = reply.statusCode >= 499
    // Answered without Fastify, hijacked, held before its handler, or ended with its connection by a hook.
    if (heldRequests.has(reply.request) || reply.sent || hasBegun(reply) || (!this.handled && wasCutByServer(reply))) this.unanswered = false
    if (this.busy) this.#described = describe(reply.request)
  }

  describe (now: number): Unfinished {
    const { name, id } = this.#described ?? describe(this.reply!.request)
    return { kind: 'request', name, id, ageMs: Math.round(now - this.since), attempt: 1 }
  }

  /** The connection of HTTP/1. A request that another plugin made (injectWS of @fastify/websocket) has none. */
  get connection (): Socket | undefined {
    const raw = this.reply === undefined ? undefined : rawOf(this.reply)
    return raw !== undefined && isHttp1(raw) ? raw.req.socket : undefined
  }

  /** The connection on which the response of a pipelined request waits for the responses ahead of it; undefined if it is its turn. */
  get queuedOn (): Socket | undefined {
    return this.reply?.raw.socket === null ? this.connection : undefined
  }

  /** Tells whether the connection was upgraded (to a WebSocket, say). It isn't Fastify's any more, and belongs to the code that upgraded it. */
  get isUpgraded (): boolean {
    if (this.reply?.sent !== true || hasEnded(this.reply)) return false
    const { upgrade, headers } = this.reply.raw.req as { upgrade?: boolean | null, headers: { upgrade?: string } }
    return upgrade ?? headers.upgrade !== undefined
  }

  /** Tells whether this is a request of inject() of which nothing is known to run. Fastify's own close() doesn't wait for such a request either. */
  get isStrayInjection (): boolean {
    const { reply } = this
    if (reply === undefined || (this.runs && (!reply.sent || this.running > 0))) return false
    const raw = rawOf(reply)
    return isHttp1(raw) && !(raw.req.socket instanceof Socket)
  }
}

function describe (request: FastifyRequest): { name: string, id: string } {
  return { name: `${request.method} ${request.routeOptions.url ?? request.url}`, id: request.id }
}

/** A hook may refuse a client by ending its connection, and never call `done`. */
function wasCutByServer (reply: FastifyReply): boolean {
  const raw = rawOf(reply)
  const socket: Socket | undefined = raw.req.socket
  return isHttp1(raw) && socket?.destroyed === true && !socket.readableEnded && socket.errored === null
}
