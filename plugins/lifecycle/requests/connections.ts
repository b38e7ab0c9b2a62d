/**
 * Connections keeps the open connections of an application, since close() also waits for connections that have no request in flight.
 *
 * HTTP/2 sessions have no Connection header to end them, and before Node 24 server.close() waits until each has timed out: a client
 * that keeps an idle session would hold the shutdown up for 72 s. A socket that was upgraded (a WebSocket) or that has sent
 * half a request holds it up for ever, and closeAllConnections() doesn't know upgraded sockets.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Http2Session } from 'node:http2'
import type { Socket } from 'node:net'
import { Server as TlsServer } from 'node:tls'
import { IdleWaiters } from '../../shared/drainables.ts'
import type { Guard } from '../guard.ts'
import { closeWebSocket } from './websockets.ts'

interface Emitter {
  on (event: 'session', listener: (session: Http2Session) => void): unknown
  on (event: 'connection' | 'secureConnection', listener: (socket: Socket) => void): unknown
  listeners (event: 'request'): unknown[]
}

export function connectionsOf (server: Emitter, guard: Guard = (_step, run) => run()) {
  const sockets = new Set<Socket>()
  const sessions = new Set<Http2Session>()
  /** Connections of TLS whose handshake has not ended. */
  const handshakes = new WeakSet<Socket>()
  /** Other servers of the process, and whether they are of this application. */
  const others = new WeakMap<object, boolean>()
  let closing = false
  const allClosed = new IdleWaiters()

  function add (socket: Socket): void {
    if (sockets.has(socket)) return
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
      if (sockets.size === 0) allClosed.wake()
    })
  }

  function addTo (server: Emitter, socket: Socket): void {
    if (server instanceof TlsServer && !sockets.has(socket)) handshakes.add(socket)
    add(socket)
  }

  function watch (server: Emitter): void {
    server.on('connection', (socket) => addTo(server, socket))
    // With TLS, the socket that Node and ws use is another object than the socket of the connection.
    server.on('secureConnection', (socket) => {
      const { _parent: raw } = socket as { _parent?: Socket }
      if (raw !== undefined) handshakes.delete(raw)
      add(socket)
    })
    // An HTTP/1 server never emits it.
    server.on('session', (session) => {
      if (closing) return session.close()
      sessions.add(session)
      session.once('close', () => sessions.delete(session))
    })
  }

  // Without a host, Fastify creates another server for ::1, which app.server doesn't show. Both servers call the same function for a request.
  const onSocket = (message: unknown): void => {
    const { socket } = message as { socket: Socket & { server?: Emitter } }
    const other = socket.server
    if (other == null || other === server) return
    let isOurs = others.get(other)
    if (isOurs === undefined) {
      const ours = server.listeners('request')
      isOurs = other.listeners('request').some((listener) => ours.includes(listener))
      others.set(other, isOurs)
      if (isOurs) watch(other)
    }
    if (isOurs) addTo(other, socket)
  }

  watch(server)
  subscribe('net.server.socket', onSocket)

  return {
    /** Lets HTTP/2 streams end, and refuses new ones. */
    close (): void {
      closing = true
      for (const session of sessions) guard('close of an HTTP/2 session', () => session.close())
    },
    /**
     * Closes the connections that owe nothing: those that have sent no request, half a header, or half of a TLS
     * handshake. Before Node 26, server.closeIdleConnections() doesn't count them as idle, and close() waits for them.
     * No version counts a handshake.
     */
    closeSilent (): void {
      for (const socket of sockets) if (handshakes.has(socket) || owesNothing(socket)) socket.destroy()
    },
    closeWebSockets (): void {
      for (const socket of sockets) guard('close of a WebSocket', () => closeWebSocket(socket))
    },
    /** Cuts all connections, of any protocol. */
    destroy (): void {
      for (const session of sessions) session.destroy()
      for (const socket of sockets) socket.destroy()
    },
    /** Resolves when no connection is left, and stops watching for new ones. */
    async ended (): Promise<void> {
      unsubscribe('net.server.socket', onSocket)
      await allClosed.wait(sockets.size)
    }
  }
}

/**
 * Tells whether a connection of HTTP/1 has no response that is still to be sent. Node keeps the response whose turn it is as `_httpMessage`, and
 * takes the parser from a connection that is upgraded. test/lifecycle/pinning.test.ts pins both.
 */
function owesNothing (socket: Socket): boolean {
  const { parser, _httpMessage: response } = socket as { parser?: object | null, _httpMessage?: object | null }
  return parser != null && response == null
}
