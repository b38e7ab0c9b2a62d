/** What the threads report to the pool, and, of that, what a thread keeps to itself. */
import type { JobLine, JobOutcome } from '../../../workers/protocol.ts'
import type { WireError } from '../../../workers/wire-error.ts'
import type { Job } from '../job.ts'

export type ThreadEvent =
  /** A thread may take a job, or more of them. */
  | { readonly type: 'vacancy' }
  /** The job was handed to a thread. */
  | { readonly type: 'dispatched', readonly job: Job }
  /** The job's payload can't be posted. The job has left its thread. */
  | { readonly type: 'payloadUnsent', readonly job: Job, readonly error: unknown }
  /** The thread can't read the job's payload. The job has left its thread. */
  | { readonly type: 'payloadUnread', readonly job: Job, readonly error: unknown }
  /** The job has run, and `at` is when that was received. */
  | { readonly type: 'outcome', readonly job: Job, readonly outcome: JobOutcome, readonly at: number }
  | { readonly type: 'progress', readonly job: Job, readonly value: unknown }
  /** `job` is undefined for a line that came after the job's end. */
  | { readonly type: 'log', readonly job: Job | undefined, readonly line: JobLine }
  /** A progress value could not be read: probably of this job, if the thread runs one. */
  | { readonly type: 'progressUnread', readonly job: Job | undefined, readonly error: unknown }
  /** No thread has started these jobs, nor will: they can run on another. In the order in which they were handed over. */
  | { readonly type: 'returned', readonly jobs: readonly Job[] }
  /** The thread died while it ran the job, or the job has ended a second thread before that could start it. */
  | { readonly type: 'crashed', readonly job: Job, readonly error: Error | undefined, readonly durationMs: number, readonly killed: boolean }
  /** No thread is left, and none has started for a while. The next is tried within `retryAfter` seconds. */
  | { readonly type: 'unable', readonly error: Error, readonly retryAfter: number }
  /** Handling a message has thrown, as a logger may. */
  | { readonly type: 'fault', readonly error: unknown }

/** What happens to a thread itself. */
export type LifeEvent =
  | { readonly type: 'ready' }
  /** The thread can't load the jobs. */
  | { readonly type: 'broken', readonly error: WireError, readonly what: string }
  /** A job goes on after its grace. */
  | { readonly type: 'overdue' }
  /** The thread is gone; with the numbers of its jobs that have crashed with it, and that were returned. */
  | { readonly type: 'ended', readonly error: Error, readonly crashed: number, readonly returned: number }
