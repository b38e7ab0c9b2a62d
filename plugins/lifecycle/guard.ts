/**
 * A guard runs one step of a shutdown and reports what the step throws. No error of one reply, hook or connection may end the drain of the others:
 * other plugins define properties of a response anew, and their code may throw in any of them.
 */
import type { FastifyBaseLogger } from 'fastify'
import { logSafely } from '../shared/log.ts'

export type Guard = (step: string, run: () => void) => void

export function createGuard (log: FastifyBaseLogger): Guard {
  return (step, run) => {
    try {
      run()
    } catch (err) {
      logSafely(log, 'error', { err, step }, `shutdown: a step has failed, and the others go on: ${step}`)
    }
  }
}
