/** Ends the event streams of browsers. An event stream would never end by itself; its browser connects again, to another server. */
import type { FastifyReply } from 'fastify'
import { hasBegun, hasEnded, isHttp1, rawOf } from '../../shared/http/response.ts'

const EVENT_STREAM = /^content-type: *text\/event-stream/im

/**
 * Ends the response if it is the event stream of a browser.
 *
 * @param isAhead whether another response follows on the same connection, which then isn't ended
 */
export function endEventStream (reply: FastifyReply, isAhead: boolean): void {
  if (!isEventStream(reply)) return
  const raw = rawOf(reply)
  const { socket } = reply.raw
  // The code that writes to the stream may not know yet that the stream has ended. Without a listener, the error of that write would end the process.
  raw.on('error', () => {})
  // The stream was sent as keep-alive. NestJS lets go of it only when its connection ends.
  raw.end(() => { if (isHttp1(raw) && !isAhead) socket?.end() })
}

/**
 * Tells whether a browser's EventSource reads the response: it only sends GET. An event stream that answers a POST (of a language model, say)
 * is one answer in parts, and is waited for like any other answer.
 */
function isEventStream (reply: FastifyReply): boolean {
  const raw = rawOf(reply)
  if (reply.request.method !== 'GET' || !hasBegun(reply) || hasEnded(reply)) return false
  return EVENT_STREAM.test(isHttp1(raw) ? sentHeaders(raw) : `content-type: ${String(raw.stream.sentHeaders?.['content-type'])}`)
}

/** Headers that were passed to writeHead() are nowhere but in what was sent. */
function sentHeaders (raw: object): string {
  return (raw as { _header?: string })._header ?? ''
}
