/**
 * What HTTP/1 pipelining makes of closing connections: several requests are in flight on one, and are answered one after the other.
 */
import type { Socket } from 'node:net'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { onSocketClosed } from '../sockets.ts'

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
      if (reply.raw.socket === null && isHttp1(reply)) {
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
      if (!isHttp1(reply)) return
      const { raw } = reply
      const { socket } = raw.req
      const earlier = told.get(socket)
      if (earlier !== undefined && !earlier.raw.headersSent) earlier.raw.removeHeader('connection')
      told.set(socket, reply)
      if (!raw.headersSent) raw.setHeader('connection', 'close')
    }
  }
}

function isHttp1 (reply: FastifyReply): boolean {
  return reply.raw.req.httpVersionMajor === 1
}

/** A hook before ours may have taken so long that nobody will say it again. */
function hasClosed ({ raw }: FastifyReply): boolean {
  return 'stream' in raw ? (raw.stream as { destroyed: boolean }).destroyed : raw.destroyed || raw.req.socket.destroyed
}
