/** One job on its way through admission: who it is, where it stands, and its links in the lists that hold it. */
import { createHash } from 'node:crypto'
import type { Priority } from '../../../workers/jobs.ts'
import { Link } from './linked-list.ts'

/** Best first. */
export const priorities: readonly Priority[] = ['high', 'normal', 'low']

/**
 * Where an entry stands. new: not offered yet. capped: it waits until its name has a free permit. runnable: it waits for a thread only.
 * taken: a thread has it. done: refused, left or finished.
 */
export type EntryState = 'new' | 'capped' | 'runnable' | 'taken' | 'done'

/** Keys of more characters are replaced by their digest, so that a queue of keys of 10 MB keeps none of them. */
const LONGEST_KEY = 256

/** A long key is not cut short, since two tenants whose keys begin alike would share a queue. Hashing costs the main thread about 1 ms a MB. */
function compact (key: string): string {
  return key.length <= LONGEST_KEY ? key : `sha256:${createHash('sha256').update(key).digest('base64')}`
}

/** The fields below `deadline` belong to admission. Others may read them. */
export class QueueEntry {
  /** The index of the job's name. */
  readonly job: number
  readonly key: string
  readonly priority: Priority
  /** An instant on the clock that admission is given, or Infinity. */
  readonly deadline: number

  state: EntryState = 'new'
  /** When the entry was offered. */
  arrived = 0
  /** Since when the entry waits in the queue where it is now: later than `arrived` for an entry that has waited for a permit of its name. */
  since = 0
  /** When the entry was last given to a thread. */
  takenAt = 0
  /** The entry's number in the order of arrival. */
  sequence = 0
  /** The entry has waited longer than its key's wait limit, and is served only when its key has nothing fresh. */
  late = false
  /** The client has left. */
  left = false
  /** The entry was admitted because a thread was free. It is not refused afterwards, so a wrong estimate is always put to the test. */
  assured = false
  /** The run time that was expected when the entry was offered, in ms; 0 for a name without an estimate. */
  expected = 0
  /** What the key was charged for the entry when it was taken, in ms, until the run is measured. */
  charged = 0
  /** The link in a list of the entry's key. */
  readonly link = new Link(this)
  /** The link in the list of all that wait, by age. */
  readonly ageLink = new Link(this)

  constructor (job: number, key: string, priority: Priority, deadline: number) {
    this.job = job
    this.key = compact(key)
    this.priority = priority
    this.deadline = deadline
  }
}
