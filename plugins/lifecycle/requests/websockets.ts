/**
 * Closes WebSockets with 1001, "going away", whoever serves them: @fastify/websocket, a gateway of NestJS, a server of tRPC or GraphQL.
 *
 * All of these use ws, which notes on a connection which WebSocket it carries. The servers themselves can't be found: those that don't route
 * their upgrades through Fastify are known to nobody but who made them.
 */
import type { Socket } from 'node:net'
import { privateOf } from '../../shared/private.ts'

/** What is used of a WebSocket of ws. */
interface WebSocket {
  readyState: number
  close (code: number, reason: string): void
}

const OPEN = 1
const GOING_AWAY = 1001

/** Without effect on a connection that carries no WebSocket, or one that is closing already. */
export function closeWebSocket (socket: Socket): void {
  const webSocket = privateOf<Partial<WebSocket>>(socket, 'websocket')
  if (webSocket?.readyState === OPEN) webSocket.close?.(GOING_AWAY, 'The service is closing')
}
