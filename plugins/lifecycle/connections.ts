/**
 * The connections of the server, for those that close() waits for and that no request tells us of.
 *
 * HTTP/2 sessions have no Connection header to end them, and before Node 24 server.close() waits until each has timed out: a client
 * that keeps an idle session would hold the shutdown up for 72 s. A socket that was upgraded (a WebSocket) or that has sent
 * half a request holds it up for ever; closeAllConnections() knows nothing of upgraded ones.
 */
import type { Http2Session } from 'node:http2'
import type { Socket } from 'node:net'

export interface Connections {
  /** Streams of HTTP/2 go on, no new ones come. */
  close (): void
  /** Cuts all, of any protocol. */
  destroy (): void
}

interface Emitter {
  on (event: 'session', listener: (session: Http2Session) => void): unknown
  on (event: 'connection', listener: (socket: Socket) => void): unknown
}

export function connectionsOf (server: Emitter): Connections {
  const sockets = new Set<Socket>()
  const sessions = new Set<Http2Session>()
  let closing = false
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  // An HTTP/1 server never emits it.
  server.on('session', (session) => {
    if (closing) return session.close()
    sessions.add(session)
    session.once('close', () => sessions.delete(session))
  })
  return {
    close () {
      closing = true
      for (const session of sessions) session.close()
    },
    destroy () {
      for (const session of sessions) session.destroy()
      for (const socket of sockets) socket.destroy()
    }
  }
}
