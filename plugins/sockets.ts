import type { Socket } from 'node:net'

const closing = new WeakMap<Socket, Set<() => void>>()

/**
 * Calls `listener` when the socket closes. One listener on the socket, however many requests are pipelined on it.
 *
 * @param socket undefined or no real one in inject(): then it never closes
 * @returns takes it back
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
