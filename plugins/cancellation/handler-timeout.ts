/** Reads Fastify's `handlerTimeout`, after which Fastify answers 503 in the place of a handler that goes on. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { contextOf } from '../shared/private.ts'
import { kReply } from './reply.ts'

/**
 * How much later than Fastify's answer a deadline of ours ends, in ms. Node fires timers in the order of their times, so the client gets the
 * answer of Fastify, and not an error of ours that comes at the same time.
 */
const MARGIN_MS = 5

function handlerTimeoutOf (request: FastifyRequest): number {
  return contextOf<{ handlerTimeout?: number }>(request)?.handlerTimeout ?? 0
}

/** Returns the error with which Fastify has answered in the place of the handler. */
export function handlerTimeoutError ({ request }: FastifyReply): unknown {
  if (handlerTimeoutOf(request) === 0) return undefined
  // With a timeout, Fastify has made the signal before the first hook.
  const { aborted, reason } = request.signal
  return aborted && (reason as { code?: unknown } | null)?.code === 'FST_ERR_HANDLER_TIMEOUT' ? reason : undefined
}

/** Returns the time, in ms, until Fastify answers in the place of the handler; `Infinity` without `handlerTimeout`. It is never less than 0. */
export function timeLeft (request: FastifyRequest): number {
  const timeout = handlerTimeoutOf(request)
  const reply = request[kReply]
  if (timeout === 0 || reply == null) return Infinity
  return Math.max(0, Math.ceil(timeout - reply.elapsedTime)) + MARGIN_MS
}
