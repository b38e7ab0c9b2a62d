/** Decides whether a task that has failed is tried again, and when. */
import { types } from 'node:util'
import { OptionInvalidError } from '../shared/errors.ts'
import { retryDelay } from './backoff.ts'
import type { Observer } from './observer.ts'
import { RETRY_IF } from './options.ts'
import type { Task } from './task.ts'
import { toError } from './thrown.ts'

/** Milliseconds from now, or `undefined`: it has failed for good. `random` is from [0, 1). */
export function retryIn (task: Task, error: Error, random: () => number, observer: Observer): number | undefined {
  const { attempts, options: { retries, backoff } } = task
  if (task.cancelled !== undefined || attempts > retries || !wants(task, error, observer)) return undefined
  // Asked again: retryIf is the caller's, and may have cancelled.
  return task.cancelled === undefined ? retryDelay(attempts, error, backoff, random()) : undefined
}

/** A retryIf that fails says no. Its own error is reported beside the task's. */
function wants (task: Task, error: Error, observer: Observer): boolean {
  const failed = (thrown: unknown): void => observer.retryIfFailed(task, toError(task.id, thrown))
  try {
    const answer: unknown = task.options.retryIf(error, task.attempts)
    if ((typeof answer !== 'object' && typeof answer !== 'function') || answer === null) return Boolean(answer)
    failed(new OptionInvalidError('retryIf', RETRY_IF, types.isPromise(answer) ? 'a promise' : `a ${typeof answer}`))
    if (types.isPromise(answer)) void Promise.prototype.then.call(answer, undefined, failed)
  } catch (thrown) {
    failed(thrown)
  }
  return false
}
