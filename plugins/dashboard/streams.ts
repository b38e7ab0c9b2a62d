/**
 * The event streams of the open pages. What a page has not read is bounded: a page that lags gets no more until it has read what was sent, and
 * its connection is cut when it lags for too long. A page that is cut connects again, and gets the history in place of what it has missed.
 */
import type { FastifyReply } from 'fastify'
import { isHttp1, rawOf } from '../shared/http/response.ts'
import { onClosed } from '../shared/http/sockets.ts'

/** Broadcasts that a page may miss in a row. */
const MAX_MISSED = 10
/** Open pages; each of them costs a write each second. */
const MAX_STREAMS = 250
/** Streams of one connection of HTTP/2, which the tabs of a browser share. HTTP/1.1 answers one request at a time: a second stream would wait for ever. */
const MAX_OF_SESSION = 50

interface Stream {
  readonly reply: FastifyReply
  /** The page has not read all that was sent. */
  lags: boolean
  missed: number
}

export class Streams {
  readonly #open = new Set<Stream>()

  get size (): number {
    return this.#open.size
  }

  /** Tells whether there is a place for the reply's stream, among all and on its connection. */
  mayOpen (reply: FastifyReply): boolean {
    if (this.#open.size >= MAX_STREAMS) return false
    const connection = connectionOf(reply)
    let others = 0
    for (const stream of this.#open) if (connectionOf(stream.reply) === connection) others++
    return others < (isHttp1(rawOf(reply)) ? 1 : MAX_OF_SESSION)
  }

  /** Answers a request with a stream that begins with `text`. Fastify's reply is taken over: its hooks can't wait for the end of an endless answer. */
  open (reply: FastifyReply, text: string | Buffer): void {
    reply.hijack()
    const { raw } = reply
    const stream: Stream = { reply, lags: false, missed: 0 }
    raw.on('error', () => {})
    raw.on('drain', () => {
      stream.lags = false
      stream.missed = 0
    })
    raw.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store, no-transform',
      // nginx would otherwise keep events back.
      'x-accel-buffering': 'no',
      'cross-origin-resource-policy': 'same-origin',
      'x-content-type-options': 'nosniff'
    })
    this.#open.add(stream)
    // The response itself would not say so if it waits behind another one, as in a pipeline.
    onClosed(reply, () => { this.#open.delete(stream) })
    this.#write(stream, text)
  }

  broadcast (text: string): void {
    // The streams share the bytes: a text would be encoded for each of them.
    const bytes = Buffer.from(text)
    for (const stream of this.#open) {
      if (!stream.lags) this.#write(stream, bytes)
      else if (++stream.missed > MAX_MISSED) {
        this.#open.delete(stream)
        stream.reply.raw.destroy()
      }
    }
  }

  /** Sends a last event and ends all streams. */
  end (text: string): void {
    // Connections that are kept alive are idle then, and are closed with the server.
    for (const { reply } of this.#open) reply.raw.end(text)
    this.#open.clear()
  }

  #write (stream: Stream, text: string | Buffer): void {
    // False says that the text waits in memory, since the client has not read what came before.
    stream.lags = !stream.reply.raw.write(text)
  }
}

function connectionOf (reply: FastifyReply): object | undefined {
  const raw = rawOf(reply)
  return isHttp1(raw) ? raw.req.socket : raw.stream.session
}

/** Formats a message of an event stream. JSON escapes every line break, so that no text in `data` can begin a message of its own. */
export function event (name: string, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`
}
