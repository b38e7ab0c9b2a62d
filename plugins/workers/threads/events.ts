/** What the threads report, as calls: each event has one receiver. */
import type { JobLine, JobOutcome } from '../../../workers/protocol.ts'
import type { WireError } from '../../../workers/wire-error.ts'
import type { Job } from '../job.ts'

/** What happens to jobs, for the pool. */
export interface JobEvents {
  /** A thread may take a job, or more of them. */
  vacancy (): void
  /** The job was handed to a thread. */
  dispatched (job: Job): void
  /** The job's payload can't be posted, or was posted and the thread can't read it. The job has left its thread. */
  undelivered (job: Job, error: unknown, wasPosted: boolean): void
  /** The job has run. It is now `at`, and since the thread's last outcome `held` ms have passed. */
  outcome (job: Job, outcome: JobOutcome, at: number, held: number): void
  progress (job: Job, value: unknown): void
  /** @param job undefined for a line that came after the job's end */
  log (job: Job | undefined, line: JobLine): void
  /** A progress value could not be read: probably of this job, if the thread runs one. */
  progressUnread (job: Job | undefined, error: unknown): void
  /**
   * No thread has started these jobs, nor will: they can run on another. In the order in which they were handed over.
   */
  returned (jobs: readonly Job[]): void
  /** The thread died while it ran the job, or the job has ended a second thread before that could start it. */
  crashed (job: Job, error: Error | undefined, durationMs: number, killed: boolean): void
  /** Handling a message has thrown, as a logger may. */
  fault (error: unknown): void
}

/**
 * The same, and that no thread is left and none has started for a while. The next is tried within `retryAfter` seconds.
 */
export interface PoolEvents extends JobEvents {
  unable (error: Error, retryAfter: number): void
}

/** What happens to a host, for its thread. */
export interface HostEvents {
  ready (): void
  /** The host can't load the jobs. */
  broken (error: WireError, what: string): void
  /** A job goes on after its grace period. */
  overdue (): void
}
