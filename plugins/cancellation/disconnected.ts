/**
 * Whether the client of a request has gone.
 *
 * Fastify's own `request.signal` misfires: on a request with a body it aborts in the handler with the client still there, and read
 * after a disconnect it never aborts. The response is what tells: it closes without having been finished.
 */
import type { ServerResponse } from 'node:http'
import type { Http2ServerResponse } from 'node:http2'
import type { FastifyReply } from 'fastify'
import { onSocketClosed } from '../sockets.ts'

type RawResponse = ServerResponse | Http2ServerResponse

function isHttp2 (raw: RawResponse): raw is Http2ServerResponse {
  return 'stream' in raw && raw.stream !== undefined
}

/** Aborts `controller` 1-3 ms after the client leaves, or at once if it has left already; never after a response that was sent whole. */
export function abortWhenDisconnected (controller: AbortController, reply: FastifyReply): void {
  const gone = (): void => controller.abort(new DOMException('The client has disconnected', 'AbortError'))
  const raw = reply.raw as RawResponse
  if (isHttp2(raw)) {
    const stream = raw.stream
    if (stream.destroyed || stream.aborted) {
      // A stream is also destroyed when its response has been sent.
      if (!reply.sent || stream.aborted) gone()
    } else {
      stream.once('close', () => { if (!reply.sent || stream.aborted) gone() })
    }
  } else if (raw.writableEnded) {
    // Answered: whatever happens to the socket now, this request was served.
  } else if (raw.destroyed || raw.req.socket?.destroyed) {
    gone()
  } else {
    const closed = (): void => { if (!raw.writableFinished && !raw.writableEnded) gone() }
    // A pipelined response has no socket before its turn, and hears nothing of its end.
    const forget = raw.socket === null ? onSocketClosed(raw.req.socket, closed) : undefined
    raw.once('close', () => {
      forget?.()
      closed()
    })
  }
}
