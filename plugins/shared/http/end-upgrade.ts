import type { FastifyReply, FastifyRequest } from 'fastify'

/**
 * Closes the connection of a request for an upgrade once the request is answered. Node hands such a connection over
 * before Fastify sees the request. A WebSocket plugin that is registered after ours doesn't see a refused request, so
 * nobody would close the connection, and clients could pile up open connections.
 */
export function endUpgrade ({ raw }: FastifyRequest, reply: FastifyReply): void {
  if ((raw as { upgrade?: boolean }).upgrade !== true) return
  reply.header('connection', 'close')
  reply.raw.once('finish', () => raw.socket?.destroySoon())
}
