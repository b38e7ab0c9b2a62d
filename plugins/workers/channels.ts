/** The pool's diagnostics channels. Durations are in ms. `server` tells applications in one process apart. */
import type { TraceCarrier } from '../../workers/protocol.ts'
import type { Origin } from '../cancellation/origin.ts'
import { typedChannel, typedTracingChannel } from '../shared/typed-channel.ts'
import type { JobRefusal } from '../shared/errors.ts'

/** Which job of which pool: part of every message about a job. */
export interface JobIdentity {
  /** The application's server. */
  server: object
  kind: 'job'
  /** The job's name. */
  name: string
  /** Unique in the pool. */
  id: string
  /** The pool's decorator. */
  pool: string
}

export const queued = typedChannel<JobIdentity & { waiting: number }>('workers:queued')
/** The job was handed to a thread. */
export const dispatched = typedChannel<JobIdentity & { waitMs: number, attempt: number }>('workers:dispatched')
export const completed = typedChannel<JobIdentity & { waitMs: number, durationMs: number }>('workers:completed')
export const failed = typedChannel<JobIdentity & {
  waitMs: number, durationMs: number, error: unknown
}>('workers:failed')
/** `key` says whose job it was, as the pool shares its threads. */
export const refused = typedChannel<JobIdentity & Origin & JobRefusal & { key: string }>('workers:refused')
export const aborted = typedChannel<JobIdentity & { where: 'queued' | 'running', reason: unknown }>('workers:aborted')
/** The job's deadline has passed. */
export const expired = typedChannel<JobIdentity & Origin & {
  where: 'queued' | 'running', timeout: number
}>('workers:expired')
/** The job's thread died while it ran the job. */
export const crashed = typedChannel<JobIdentity & Origin & { error: Error }>('workers:crashed')

/** One job, from the call of `run()` until its caller has its answer. */
export interface JobTrace extends JobIdentity {
  /** Goes to the thread with the job. A subscriber of `start` may set it. */
  carrier: TraceCarrier | undefined
  /** How the job has ended. Undefined until then, as are the other fields below. */
  outcome?: 'completed' | 'failed' | 'refused' | 'aborted' | 'expired' | 'crashed'
  /** How often the job was handed to a thread. */
  attempt?: number
  /** The time that the job waited for a thread; 0 if it never got one. */
  waitMs?: number
  /** Why the job was refused, with the numbers behind it. */
  refusal?: JobRefusal
  error?: unknown
}

export const job = typedTracingChannel<JobTrace>('workers:job')

/**
 * Why a thread ended. Another thread takes its place unless its pool was closed.
 * - `crashed`: by itself. `error` says how: an uncaught error, `process.exit()`, out of memory.
 * - `closed`: its pool was closed.
 * - `overdue`: its job went on after it was aborted, for longer than `grace`.
 * - `held-up`: code that a finished job left behind kept it from starting the next job.
 * - `slow`: it has not loaded the jobs in time.
 * - `broken`: it can't load the jobs.
 */
export type ThreadEnd = 'crashed' | 'closed' | 'overdue' | 'held-up' | 'slow' | 'broken'

export interface ThreadIdentity {
  /** The application's server. */
  server: object
  /** The pool's decorator. */
  pool: string
  /** The thread's number in the pool, from 0. */
  thread: number
}

/** A thread has loaded the jobs; `durationMs` is the time since its start. */
export const threadStarted = typedChannel<ThreadIdentity & { durationMs: number }>('workers:thread-started')
export const threadEnded = typedChannel<ThreadIdentity & { why: ThreadEnd, error: Error }>('workers:thread-ended')

/** Published once, when the application gets ready: the names of the jobs that the pool may run. */
export const defined = typedChannel<{ server: object, pool: string, names: readonly string[] }>('workers:defined')
