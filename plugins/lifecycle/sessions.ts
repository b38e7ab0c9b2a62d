/**
 * HTTP/2 sessions. They have no Connection header to end them, and before Node 24 server.close() waits until each has
 * timed out: a client that keeps an idle session would hold the shutdown up for 72 s.
 */
import type { Http2Session } from 'node:http2'

export interface Sessions {
  /** Streams go on, no new ones come. */
  close (): void
  destroy (): void
}

export function sessionsOf (server: { on (event: 'session', listener: (session: Http2Session) => void): unknown }): Sessions {
  const sessions = new Set<Http2Session>()
  let closing = false
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
    destroy () { for (const session of sessions) session.destroy() }
  }
}
