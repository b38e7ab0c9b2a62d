/**
 * RequestEnd tells when the work of a request ends: when the client leaves or when the request has been answered, whichever comes first. It is
 * created when something follows the end of its request, and not before; its signals are created when they are read.
 *
 * Fastify's own `request.signal` misfires: on a request with a body it aborts in the handler with the client still there, and read
 * after a disconnect it never aborts. The response is reliable: when the client leaves, it closes without having been finished.
 */
import { setMaxListeners } from 'node:events'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { ClientGoneError, RequestEndedError } from '../shared/errors.ts'
import { hasEnded, isHttp1, rawOf } from '../shared/http/response.ts'
import { onClosed } from '../shared/http/sockets.ts'
import { handlerTimeoutError } from './handler-timeout.ts'
import { kReply } from './reply.ts'

export const kEnd = Symbol('fastify-concurrency.end')

declare module 'fastify' {
  interface FastifyRequest {
    /** @internal Null until somebody follows the end of the request. */
    [kEnd]?: RequestEnd | null
  }
}

/** What the end of a request, or a signal, stops. */
export interface Abortable {
  aborted (reason: unknown): void
}

export class RequestEnd {
  #reply: FastifyReply | undefined
  /** Set once nobody is left who could receive an answer: work that begins from then on is refused. */
  #over: { readonly reason: unknown } | undefined
  #followers: Set<Abortable> | undefined
  #work: AbortController | undefined
  #disconnected: AbortController | undefined

  /** How many follow the end of the request, besides those who listen to its signals. */
  get followers (): number {
    return this.#followers?.size ?? 0
  }

  get isOver (): boolean {
    this.#check()
    return this.#over !== undefined
  }

  /** The signal of `request.disconnected`: it aborts when nobody is left who could receive an answer. */
  get disconnected (): AbortSignal {
    this.#check()
    this.#disconnected ??= this.#newController()
    return this.#disconnected.signal
  }

  /** The signal of the request's work; see endSignalOf(). */
  get work (): AbortSignal | undefined {
    if (this.#isPast()) return undefined
    this.#work ??= this.#newController()
    return this.#work.signal
  }

  attach (reply: FastifyReply): void {
    this.#reply = reply
    this.#check()
    if (this.#over === undefined && !hasEnded(reply)) onClosed(reply, () => this.#closed(reply))
  }

  follow (follower: Abortable): void {
    if (this.#isPast()) return
    if (this.#over !== undefined) follower.aborted(this.#over.reason)
    else (this.#followers ??= new Set()).add(follower)
  }

  unfollow (follower: Abortable): void {
    this.#followers?.delete(follower)
  }

  /** Nobody is left who could receive an answer. */
  abort (reason: unknown): void {
    if (this.#over !== undefined) return
    this.#over = { reason }
    this.#disconnected?.abort(reason)
    this.#endWork(reason)
  }

  /** Notices that the client has left before the event that tells so. */
  #check (): void {
    if (this.#over !== undefined || this.#reply === undefined) return
    const over = overOf(this.#reply)
    if (over !== undefined) this.abort(over())
  }

  /** Tells whether the application has answered. Work that begins after that, in an onResponse hook for example, is not bound to the request. */
  #isPast (): boolean {
    this.#check()
    return this.#over === undefined && this.#reply !== undefined && hasEnded(this.#reply)
  }

  /** The response has been sent, or the connection has closed before. */
  #closed (reply: FastifyReply): void {
    this.#check()
    if (this.#over !== undefined) return
    if (!wasSent(reply)) this.abort(new ClientGoneError())
    else if (this.#work !== undefined || this.#followers?.size) this.#endWork(new RequestEndedError())
  }

  /** Each group and job of a request may listen to its signals. Node 24 has no limit for signals either. */
  #newController (): AbortController {
    const controller = new AbortController()
    setMaxListeners(0, controller.signal)
    if (this.#over !== undefined) controller.abort(this.#over.reason)
    return controller
  }

  #endWork (reason: unknown): void {
    const [work, followers] = [this.#work, this.#followers]
    if (this.#over === undefined) this.#work = undefined
    this.#followers = undefined
    work?.abort(reason)
    if (followers !== undefined) for (const each of followers) each.aborted(reason)
  }
}

/** Returns the end of a request, which is created when it is first needed. */
export function endOf (request: FastifyRequest): RequestEnd {
  const { [kReply]: reply, [kEnd]: known } = request
  if (known != null) return known
  const end = request[kEnd] = new RequestEnd()
  if (reply != null) end.attach(reply)
  return end
}

/**
 * Returns a signal for what must not outlive its request: it aborts when the client has left or the request has been answered, whichever comes
 * first. Undefined if the application has answered already, as in onResponse hooks: what begins then doesn't belong to the request.
 */
export function endSignalOf (request: FastifyRequest): AbortSignal | undefined {
  return endOf(request).work
}

/**
 * Aborts `request.disconnected` while the client is still there, for work that the service gives up; also if `disconnected` is first read later.
 * Without effect if the cancellation plugin isn't registered.
 */
export function abortRequest (request: FastifyRequest, reason: Error): void {
  if (kEnd in request) endOf(request).abort(reason)
}

/** Tells, without the cost of a signal, whether nobody is left who could receive an answer. */
export function isOver (request: FastifyRequest): boolean {
  const { [kReply]: reply, [kEnd]: end } = request
  if (end != null) return end.isOver
  return reply != null && overOf(reply) !== undefined
}

/** Returns the maker of the reason if nobody is left who could receive an answer. */
function overOf (reply: FastifyReply): (() => unknown) | undefined {
  if (isGone(reply)) return () => handlerTimeoutError(reply) ?? new ClientGoneError()
  // The application has answered, or Fastify in its place.
  const error = hasEnded(reply) ? handlerTimeoutError(reply) : undefined
  return error === undefined ? undefined : () => error
}

/** Tells whether the client has left already. It is false after a response that was sent whole. */
export function isGone (reply: FastifyReply): boolean {
  const raw = rawOf(reply)
  // A stream is destroyed too when its response has been sent.
  if (!isHttp1(raw)) return raw.stream.aborted || (raw.stream.destroyed && !reply.sent)
  // Once the response has been written, the request was served, whatever happens to the socket.
  return !hasEnded(reply) && (raw.destroyed || raw.req.socket?.destroyed)
}

/** Tells, once the response has closed, whether it was sent whole. */
function wasSent (reply: FastifyReply): boolean {
  const raw = rawOf(reply)
  return isHttp1(raw) ? hasEnded(reply) : reply.sent && !raw.stream.aborted
}
