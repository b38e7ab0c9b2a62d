/**
 * Closes connections in spite of HTTP/1 pipelining, where several requests are in flight on one connection and are answered in order.
 */
import type { Socket } from 'node:net'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { isHttp1, onSocketClosed, rawOf } from '../../shared/sockets.ts'

export interface Pipelines {
  /** Calls `gone`, at least once, when the response has been sent or its client has left; at once if it has left already. */
  onClose (request: FastifyRequest, reply: FastifyReply, gone: () => void): void
  /** HTTP/2 has no Connection header: sessions are closed instead. */
  tellToClose (reply: FastifyReply): void
}

export function createPipelines (): Pipelines {
  const told = new WeakMap<Socket, FastifyReply>()

  return {
    onClose (request, reply, gone) {
      if (hasClosed(reply)) return gone()
      // A response whose turn hasn't come has no socket yet, and so gets no event when the connection ends.
      if (reply.raw.socket === null && isHttp1(rawOf(reply))) {
        const forget = onSocketClosed(request.raw.socket, gone)
        reply.raw.once('close', () => {
          forget()
          gone()
        })
      } else {
        reply.raw.once('close', gone)
      }
    },

    // Only the last response may carry the header: Node ends the connection after it, and other requests of the connection stay unanswered.
    tellToClose (reply) {
      const raw = rawOf(reply)
      if (!isHttp1(raw)) return
      // A request that another plugin made (injectWS of @fastify/websocket) has no socket.
      const socket: Socket | undefined = raw.req.socket
      if (socket !== undefined) {
        const earlier = told.get(socket)
        if (earlier !== undefined && !earlier.raw.headersSent) earlier.raw.removeHeader('connection')
        told.set(socket, reply)
      }
      if (!raw.headersSent) raw.setHeader('connection', 'close')
    }
  }
}

/** Tells whether the response has closed already: a hook before this plugin's may have taken so long that the event is over. */
function hasClosed (reply: FastifyReply): boolean {
  const raw = rawOf(reply)
  if (!isHttp1(raw)) return raw.stream.destroyed
  const socket: Socket | undefined = raw.req.socket
  return raw.destroyed || socket?.destroyed === true
}
