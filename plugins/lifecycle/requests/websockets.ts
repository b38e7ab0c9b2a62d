/**
 * Closes WebSockets with 1001, "going away", whichever library serves them: @fastify/websocket, a gateway of NestJS, a server of tRPC or GraphQL.
 *
 * All of these use ws, which stores the WebSocket of a connection on its socket. The servers themselves can't be found: a server that doesn't
 * route its upgrades through Fastify is known only to the code that created it.
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

/** Closes the WebSocket of a connection. Does nothing if there is none, or if it is closing already. */
export function closeWebSocket (socket: Socket): void {
  const webSocket = privateOf<Partial<WebSocket>>(socket, 'websocket')
  if (webSocket?.readyState === OPEN) webSocket.close?.(GOING_AWAY, 'The service is closing')
}
