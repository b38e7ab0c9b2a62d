/** What the pool tells whoever listens. Durations in ms. */
import { typedChannel } from '../shared/typed-channel.ts'
import type { Refusal } from '../shared/errors.ts'

/** In every message: which pool, which job. */
export interface JobEvent {
  /** The decorator's name. */
  pool: string
  job: string
  id: string
}

export const queued = typedChannel<JobEvent & { waiting: number }>('workers:queued')
/** Handed to a thread. */
export const dispatched = typedChannel<JobEvent & { waitMs: number, attempt: number }>('workers:dispatched')
export const completed = typedChannel<JobEvent & { waitMs: number, runMs: number }>('workers:completed')
export const failed = typedChannel<JobEvent & { waitMs: number, runMs: number, error: unknown }>('workers:failed')
export const rejected = typedChannel<JobEvent & Refusal>('workers:rejected')
export const cancelled = typedChannel<JobEvent & { where: 'queued' | 'running', reason: unknown }>('workers:cancelled')
export const timedOut = typedChannel<JobEvent & { where: 'queued' | 'running', timeout: number }>('workers:timed-out')
/** The job's thread died under it. */
export const crashed = typedChannel<JobEvent & { error: Error }>('workers:crashed')

export interface ThreadEvent {
  pool: string
  /** Its place in the pool, from 0. */
  thread: number
}

export const threadStarted = typedChannel<ThreadEvent & { startMs: number }>('workers:thread-started')
export const threadEnded = typedChannel<ThreadEvent & { why: 'retired' | 'killed' | 'crashed' | 'recycled', error: Error | undefined }>('workers:thread-ended')
