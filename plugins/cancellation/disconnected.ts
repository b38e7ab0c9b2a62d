/**
 * Detects that the client of a request has left.
 *
 * Fastify's own `request.signal` misfires: on a request with a body it aborts in the handler with the client still there, and read
 * after a disconnect it never aborts. The response is reliable: when the client leaves, it closes without having been finished.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { isHttp1, onSocketClosed, rawOf } from '../shared/sockets.ts'

export const kReply = Symbol('fastify-concurrency.reply')
export const kDisconnected = Symbol('fastify-concurrency.disconnected')

declare module 'fastify' {
  interface FastifyRequest {
    /** @internal Null until the request has passed our hook. */
    [kReply]?: FastifyReply | null
    /** @internal Null until `disconnected` is read. */
    [kDisconnected]?: AbortController | null
  }
}

/** Returns the controller of `request.disconnected`, which is created when it is first needed. */
export function controllerOf (request: FastifyRequest): AbortController {
  const { [kReply]: reply, [kDisconnected]: known } = request
  if (known != null) return known
  const controller = request[kDisconnected] = new AbortController()
  if (reply != null) abortWhenDisconnected(controller, reply)
  return controller
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
  if (!isHttp1(raw)) {
    const { stream } = raw
    if (!stream.destroyed) stream.once('close', () => { if (!reply.sent || stream.aborted) gone() })
  } else if (!raw.writableEnded) {
    const closed = (): void => { if (!raw.writableFinished && !raw.writableEnded) gone() }
    // A pipelined response has no socket before its turn, and gets no event when the socket closes.
    const forget = raw.socket === null ? onSocketClosed(raw.req.socket, closed) : undefined
    raw.once('close', () => {
      forget?.()
      closed()
    })
  }
}
