/** The pool's diagnostics channels. Durations are in ms. `server` tells applications in one process apart. */
import { typedChannel } from '../shared/typed-channel.ts'
import type { Refusal } from '../shared/errors.ts'

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
export const failed = typedChannel<JobIdentity & { waitMs: number, durationMs: number, error: unknown }>('workers:failed')
export const refused = typedChannel<JobIdentity & Refusal>('workers:refused')
export const aborted = typedChannel<JobIdentity & { where: 'queued' | 'running', reason: unknown }>('workers:aborted')
export const timedOut = typedChannel<JobIdentity & { where: 'queued' | 'running', timeout: number }>('workers:timed-out')
/** The job's thread died while it ran the job. */
export const crashed = typedChannel<JobIdentity & { error: Error }>('workers:crashed')

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
export const threadEnded = typedChannel<ThreadIdentity & { why: 'closed' | 'killed' | 'crashed', error: Error }>('workers:thread-ended')
