/**
 * Detects that the client of a request has left.
 *
 * Fastify's own `request.signal` misfires: on a request with a body it aborts in the handler with the client still there, and read
 * after a disconnect it never aborts. The response is reliable: when the client leaves, it closes without having been finished.
 */
import { setMaxListeners } from 'node:events'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { RequestEndedError } from '../shared/errors.ts'
import { isHttp1, onClosed, rawOf } from '../shared/sockets.ts'

export const kReply = Symbol('fastify-concurrency.reply')
export const kDisconnected = Symbol('fastify-concurrency.disconnected')
export const kEnded = Symbol('fastify-concurrency.ended')

declare module 'fastify' {
  interface FastifyRequest {
    /** @internal Null until the request has passed our hook. */
    [kReply]?: FastifyReply | null
    /** @internal Null until `disconnected` is read. */
    [kDisconnected]?: AbortController | null
    /** @internal Null until endOf() is called. */
    [kEnded]?: AbortSignal | null
  }
}

/** Returns the controller of `request.disconnected`, which is created when it is first needed. */
export function controllerOf (request: FastifyRequest): AbortController {
  const { [kReply]: reply, [kDisconnected]: known } = request
  if (known != null) return known
  const controller = request[kDisconnected] = newController()
  if (reply != null) abortWhenDisconnected(controller, reply)
  return controller
}

/** Each group and job of a request may listen to its signals. Node 24 has no limit for signals either. */
function newController (): AbortController {
  const controller = new AbortController()
  setMaxListeners(0, controller.signal)
  return controller
}

/**
 * Returns a signal for what must not outlive its request: it aborts when the response has been sent or its client has left. If the client has
 * left, `disconnected` aborts first. Undefined if the whole response has been written already, as in onResponse hooks.
 */
export function endOf (request: FastifyRequest): AbortSignal | undefined {
  const { [kReply]: reply, [kEnded]: known } = request
  if (reply != null && isAnswered(reply)) return undefined
  if (known != null) return known
  // First, so that its listener is called first.
  controllerOf(request)
  const controller = newController()
  request[kEnded] = controller.signal
  if (reply != null) onClosed(reply, () => controller.abort(new RequestEndedError()))
  return controller.signal
}

/**
 * Aborts `request.disconnected` while the client is still there, for work that the service gives up; also if `disconnected` is first read later.
 * Without effect if the cancellation plugin isn't registered.
 */
export function abortRequest (request: FastifyRequest, reason: Error): void {
  if (kDisconnected in request) controllerOf(request).abort(reason)
}

/** Tells whether the client has left already. It is false after a response that was sent whole. */
function isGone (reply: FastifyReply): boolean {
  const raw = rawOf(reply)
  // A stream is destroyed too when its response has been sent.
  if (!isHttp1(raw)) return raw.stream.aborted || (raw.stream.destroyed && !reply.sent)
  // Once the response has been written, the request was served, whatever happens to the socket.
  return !raw.writableEnded && (raw.destroyed || raw.req.socket?.destroyed)
}

function isAnswered (reply: FastifyReply): boolean {
  const raw = rawOf(reply)
  return isHttp1(raw) ? raw.writableEnded : raw.stream.writableEnded
}

/** Returns what `disconnected.aborted` says, without the cost of a signal. */
export function hasLeft (request: FastifyRequest): boolean {
  const { [kReply]: reply, [kDisconnected]: controller } = request
  return controller?.signal.aborted ?? (reply != null && isGone(reply))
}

/** Aborts `controller` 1-3 ms after the client leaves, or at once if it has left already; never after a response that was sent whole. */
export function abortWhenDisconnected (controller: AbortController, reply: FastifyReply): void {
  const gone = (): void => controller.abort(new DOMException('The client has disconnected', 'AbortError'))
  if (isGone(reply)) return gone()
  const raw = rawOf(reply)
  onClosed(reply, () => { if (isHttp1(raw) ? !raw.writableEnded : !reply.sent || raw.stream.aborted) gone() })
}
