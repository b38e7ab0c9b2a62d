/**
 * One job on its way through admission: who it is, where it stands, and its links in the lists that hold it.
 * The links are in the ticket itself (intrusive), so that a job costs admission no allocation and leaves any list at once.
 */
import { createHash } from 'node:crypto'
import type { Flow } from './key-queue.ts'

export type Priority = 'high' | 'normal' | 'low'

/** Best first: a ticket's `rank` is an index into it. */
export const priorities = ['high', 'normal', 'low'] as const satisfies readonly Priority[]

/** held: its name's cap has no place for it. runnable: only the threads keep it waiting. gone: refused, left or finished. */
export type Place = 'outside' | 'held' | 'runnable' | 'taken' | 'gone'

const LONGEST_KEY = 256

/**
 * A long key is replaced by its digest, so that a queue of 10 MB keys holds none of them. Not cut short: two tenants whose
 * keys begin alike would share one place in the queue. Hashing costs the caller about 1 ms a MB, on the main thread.
 */
function compact (key: string): string {
  return key.length <= LONGEST_KEY ? key : `sha256:${createHash('sha256').update(key).digest('base64')}`
}

/** From its arrival to its end. The fields below `deadline` belong to admission: read them, don't write them. */
export class Ticket {
  /** Index of the job's name. */
  readonly job: number
  readonly key: string
  readonly rank: number
  /** An instant on the clock that admission is given, or Infinity. */
  readonly deadline: number

  place: Place = 'outside'
  /** When it was offered. */
  arrived = 0
  /** Since when only the threads keep it waiting: later than `arrived` if its name's cap held it back. */
  since = 0
  /** When it was last given to a thread. */
  taken = 0
  /** Its number in the order of arrival. */
  sequence = 0
  /** It has waited longer than its key's wait limit, and is served when nothing fresh waits. */
  late = false
  /** Its client doesn't wait for it any more. */
  left = false
  /** Admitted because a thread was idle: not shed afterwards, so that a wrong estimate is always put to the test. */
  assured = false
  /** The run time expected when it joined its queue, in ms; 0 for a name without an estimate. */
  expected = 0
  /** What its key was charged for it, in ms, until the run is measured. */
  charged = 0
  flow: Flow | undefined = undefined
  previous: Ticket | undefined = undefined
  next: Ticket | undefined = undefined
  /** The neighbours in the order in which jobs joined the queue: see fair-queue.ts. */
  older: Ticket | undefined = undefined
  newer: Ticket | undefined = undefined

  constructor (job: number, key: string, priority: Priority, deadline: number) {
    this.job = job
    this.key = compact(key)
    this.rank = priorities.indexOf(priority)
    this.deadline = deadline
  }
}
