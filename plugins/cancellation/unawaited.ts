/**
 * Lets waits that nobody awaits end with their request. A handler may start one and not await it: `void locks.mutex(key).runExclusive(refresh)`.
 * Its rejection would be one that nobody handles, and would end the process whenever a client leaves early.
 */
import type { FastifyRequest } from 'fastify'
import { ClosingError, LimitWaitAbortedError, LockAbortedError, RequestEndedError } from '../shared/errors.ts'
import { logSafely } from '../shared/log.ts'
import { noteRefusal } from '../shared/refusal-log.ts'
import { isOver } from './request-end.ts'

/** Runs a call that waits, in a request. If the end of the request ends the wait, its rejection counts as handled. Other errors stay as they are. */
export function endingWith<T> (request: FastifyRequest | undefined, call: () => Promise<T>): Promise<T> {
  if (request === undefined) return call()
  const promise = new Promise<T>((resolve, reject) => {
    call().then(resolve, (error: unknown) => {
      noteRefusal(request, error)
      if (isByEndOf(request, error)) {
        promise.catch(() => {})
        if (isEnded((error as Error).cause)) {
          logSafely(request.log, 'debug', { err: error }, 'a wait was ended because its request has been answered: await it before the answer, or pass { detached: true }')
        }
      }
      reject(error)
    })
  })
  return promise
}

const isEnded = (reason: unknown): boolean => reason instanceof RequestEndedError

function isByEndOf (request: FastifyRequest, error: unknown): boolean {
  if (error instanceof ClosingError) return isOver(request)
  return (error instanceof LockAbortedError || error instanceof LimitWaitAbortedError) && (isEnded(error.cause) || isOver(request))
}
