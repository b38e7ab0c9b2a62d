import type { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import type { FastifyReply } from 'fastify'
import { isHttp1, rawOf, type RawResponse } from './response.ts'

/** Calls `closed`, at least once, when the response has been sent or its client has left; at once if that is past. */
export function onClosed (reply: FastifyReply, closed: () => void): void {
  const raw = rawOf(reply)
  if (hasClosed(raw)) return closed()
  // Node tells nothing of the connection's end to a response of a pipeline whose turn hasn't come: it has no socket
  // yet.
  const forget = isHttp1(raw) && raw.socket === null ? onSocketClosed(raw.req.socket, closed) : undefined
  // The response of HTTP/2 says it before listeners of its stream hear it, and so before `disconnected` does.
  const emitter: EventEmitter = isHttp1(raw) ? raw : raw.stream
  // Not once(), which costs as much again: the response says it once.
  emitter.on('close', () => {
    forget?.()
    closed()
  })
}

/** A hook before ours may have taken so long that nobody will say it again. */
function hasClosed (raw: RawResponse): boolean {
  if (!isHttp1(raw)) return raw.stream.destroyed
  // A request that another plugin made up (injectWS of @fastify/websocket) has no socket.
  const socket: Socket | undefined = raw.req.socket
  return raw.destroyed || socket?.destroyed === true
}

const closing = new WeakMap<Socket, Set<() => void>>()

/**
 * Calls `listener` when the socket closes. However many requests are pipelined on the socket, it has one listener.
 *
 * @param socket undefined, or no real socket, in inject(): then it never closes
 * @returns the function that removes `listener`
 */
function onSocketClosed (socket: Socket | undefined, listener: () => void): () => void {
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
