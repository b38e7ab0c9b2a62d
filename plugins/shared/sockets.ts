import type { ServerResponse } from 'node:http'
import type { Http2ServerResponse } from 'node:http2'
import type { Socket } from 'node:net'
import type { FastifyReply } from 'fastify'

/** The type of `reply.raw`. Fastify's types only know HTTP/1. */
export type RawResponse = ServerResponse | Http2ServerResponse

export function rawOf (reply: FastifyReply): RawResponse {
  return reply.raw
}

export function isHttp1 (raw: RawResponse): raw is ServerResponse {
  return !('stream' in raw)
}

const closing = new WeakMap<Socket, Set<() => void>>()

/**
 * Calls `listener` when the socket closes. However many requests are pipelined on the socket, it has one listener.
 *
 * @param socket undefined, or no real socket, in inject(): then it never closes
 * @returns the function that removes `listener`
 */
export function onSocketClosed (socket: Socket | undefined, listener: () => void): () => void {
  if (typeof socket?.once !== 'function') return () => {}
  let listeners = closing.get(socket)
  if (listeners === undefined) {
    const all = new Set<() => void>()
    closing.set(socket, listeners = all)
    socket.once('close', () => { for (const each of all) each() })
  }
  listeners.add(listener)
  return () => { listeners.delete(listener) }
}
