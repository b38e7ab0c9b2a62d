/**
 * What HTTP/1 pipelining makes of closing connections: several requests are in flight on one, and are answered one after the other.
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
      // Node tells nothing of the connection's end to a response whose turn hasn't come: it has no socket yet.
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

    // Only the last may say it: Node ends the connection after the response that does, whatever else was to be answered on it.
    tellToClose (reply) {
      const raw = rawOf(reply)
      if (!isHttp1(raw)) return
      // A request that another plugin made up (injectWS of @fastify/websocket) has no socket.
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

/** A hook before ours may have taken so long that nobody will say it again. */
function hasClosed (reply: FastifyReply): boolean {
  const raw = rawOf(reply)
  if (!isHttp1(raw)) return raw.stream.destroyed
  const socket: Socket | undefined = raw.req.socket
  return raw.destroyed || socket?.destroyed === true
}
