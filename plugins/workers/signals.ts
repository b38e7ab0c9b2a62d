/**
 * Lets jobs follow signals, with one listener for each signal. A thousand jobs on one signal would otherwise be a
 * thousand listeners, with a MaxListenersExceededWarning at the eleventh.
 */
import type { Abortable } from '../cancellation/request-end.ts'

interface Followers {
  readonly jobs: Set<Abortable>
  readonly listener: () => void
}

const followed = new WeakMap<AbortSignal, Followers>()

/** Calls `job.aborted(reason)` once if the signal aborts; at once if it has. */
export function follow (signal: AbortSignal, job: Abortable): void {
  if (signal.aborted) return job.aborted(signal.reason)
  let followers = followed.get(signal)
  if (followers === undefined) {
    const jobs = new Set<Abortable>()
    const listener = (): void => {
      followed.delete(signal)
      for (const each of jobs) each.aborted(signal.reason)
    }
    followed.set(signal, followers = { jobs, listener })
    signal.addEventListener('abort', listener, { once: true })
  }
  followers.jobs.add(job)
}

export function unfollow (signal: AbortSignal, job: Abortable): void {
  const followers = followed.get(signal)
  if (followers === undefined || !followers.jobs.delete(job) || followers.jobs.size > 0) return
  signal.removeEventListener('abort', followers.listener)
  followed.delete(signal)
}
