/** Whether a task that has failed is tried again, and when. */
import { retryDelay } from './backoff.ts'
import type { Task } from './task.ts'

/** Milliseconds from now, or `undefined`: it has failed for good. `random` is from [0, 1). */
export function retryIn (task: Task, error: Error, random: () => number): number | undefined {
  const { attempts, options: { retries, retryIf, backoff } } = task
  if (task.cancelled !== undefined || attempts > retries || !wants(retryIf, error, attempts)) return undefined
  // Asked again: retryIf is the caller's, and may have cancelled.
  return task.cancelled === undefined ? retryDelay(attempts, error, backoff, random()) : undefined
}

/** A retryIf that throws says no: the task's own error is the one to report. */
function wants (retryIf: (error: Error, attempt: number) => boolean, error: Error, attempt: number): boolean {
  try {
    return retryIf(error, attempt)
  } catch {
    return false
  }
}
