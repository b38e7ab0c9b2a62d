import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyReply } from 'fastify'

/**
 * Answers with the body that Fastify's own error handler would send, for refusals that a hook answers: to throw them
 * would cost twice what serving a request does. The body is text, since to serialize an object would double the cost.
 *
 * @param more further fields of the body
 */
export function sendError (reply: FastifyReply,
  { statusCode = 500, code, message }: Pick<FastifyError, 'statusCode' | 'code' | 'message'>, more?: object): void {
  const body = JSON.stringify({ statusCode, code, error: STATUS_CODES[statusCode], message, ...more })
  reply.code(statusCode).header('content-type', 'application/json; charset=utf-8').send(body)
}
