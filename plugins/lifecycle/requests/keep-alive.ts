/** Ends keep-alive in spite of HTTP/1 pipelining, where several requests are in flight on one connection and are answered in order. */
import type { Socket } from 'node:net'
import type { FastifyReply } from 'fastify'
import { hasBegun, isHttp1, rawOf } from '../../shared/http/response.ts'

/** By connection: the reply that tells the client. */
const last = new WeakMap<Socket, FastifyReply>()

/**
 * Tells the client that its connection ends with the response. Only the last response may say so: Node ends the connection after it, and other
 * requests of the connection stay unanswered. HTTP/2 has no Connection header: sessions are closed instead.
 */
export function disableKeepAlive (reply: FastifyReply): void {
  const raw = rawOf(reply)
  if (!isHttp1(raw)) return
  // A request that another plugin made (injectWS of @fastify/websocket) has no socket.
  const socket: Socket | undefined = raw.req.socket
  if (socket !== undefined) {
    const earlier = last.get(socket)
    if (earlier !== undefined && !hasBegun(earlier)) earlier.raw.removeHeader('connection')
    last.set(socket, reply)
  }
  if (!hasBegun(reply)) raw.setHeader('connection', 'close')
}
