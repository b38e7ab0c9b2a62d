/**
 * Closes connections in spite of HTTP/1 pipelining, where several requests are in flight on one connection and are answered in order.
 */
import type { Socket } from 'node:net'
import type { FastifyReply } from 'fastify'
import { isHttp1, rawOf } from '../../shared/sockets.ts'

export interface Pipelines {
  /** HTTP/2 has no Connection header: sessions are closed instead. */
  tellToClose (reply: FastifyReply): void
}

export function createPipelines (): Pipelines {
  const told = new WeakMap<Socket, FastifyReply>()

  return {
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
