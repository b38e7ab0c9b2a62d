/** Tells the reply of a request that something in the request was refused, since handlers may catch a refusal themselves. */
import type { FastifyRequest } from 'fastify'
import { isRefusal, type RefusalHeaders } from '../shared/coded-error.ts'
import { keepRetryAfter } from '../shared/refusal-log.ts'
import { kReply } from './reply.ts'

/** Sets Retry-After on the reply if the error is a refusal. The field goes again if the handler answers with another status. */
export function noteRefusal (request: FastifyRequest | undefined, error: unknown): void {
  const reply = request?.[kReply]
  if (reply != null && isRefusal(error)) keepRetryAfter(reply, error as Error & RefusalHeaders)
}
