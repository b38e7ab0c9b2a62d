/**
 * Reads the state of a response from Node.js itself. Plugins define properties of a response anew: @fastify/express has
 * a `headersSent` of its own, which is false for what Fastify has answered. The getters of Node's prototypes read the
 * response's own fields.
 */
import { OutgoingMessage, type ServerResponse } from 'node:http'
import type { Http2ServerResponse } from 'node:http2'
import type { FastifyReply } from 'fastify'

/** The type of `reply.raw`. Fastify's types only know HTTP/1. */
export type RawResponse = ServerResponse | Http2ServerResponse

export function rawOf (reply: FastifyReply): RawResponse {
  return reply.raw
}

export function isHttp1 (raw: RawResponse): raw is ServerResponse {
  return !('stream' in raw)
}

type Getter = (this: ServerResponse) => boolean
const getterOf = (name: 'headersSent' | 'writableEnded'): Getter =>
  Object.getOwnPropertyDescriptor(OutgoingMessage.prototype, name)!.get as Getter
const headersSent = getterOf('headersSent')
const writableEnded = getterOf('writableEnded')

/** Tells whether the head of the response has been written. */
export function hasBegun (reply: FastifyReply): boolean {
  const raw = rawOf(reply)
  return isHttp1(raw) ? headersSent.call(raw) : raw.stream.headersSent
}

/** Tells whether the whole response has been written. The client may not have received all of it. */
export function hasEnded (reply: FastifyReply): boolean {
  const raw = rawOf(reply)
  return isHttp1(raw) ? writableEnded.call(raw) : raw.stream.writableEnded
}
