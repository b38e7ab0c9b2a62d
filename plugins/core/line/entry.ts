/**
 * Entry is one piece of work on its way through a line: whose it is, where it stands, and its links in the lists that
 * hold it.
 */
import { createHash } from 'node:crypto'
import type { Priority } from '../../../workers/jobs.ts'
import { Link } from './linked-list.ts'

/**
 * The least cost of an entry, in ms: otherwise a key whose runs measure 0 ms would be served without end. A power of
 * two, so that sums are exact.
 */
export const LEAST_COST_MS = 1 / 128

/** Best first. */
export const priorities: readonly Priority[] = ['high', 'normal', 'low']

/**
 * Where an entry stands. new: not offered yet. capped: it waits until its name has a free permit. runnable: it waits
 * for a server only. taken: a server has it. done: refused, left or finished.
 */
export type EntryState = 'new' | 'capped' | 'runnable' | 'taken' | 'done'

/** Keys of more characters are replaced by their digest, so that a queue of keys of 10 MB keeps none of them. */
const LONGEST_KEY = 256

/**
 * A long key is not cut short, since two tenants whose keys begin alike would share a queue. Hashing takes about 1 ms a
 * MB.
 */
export function compact (key: string): string {
  return key.length <= LONGEST_KEY ? key : `sha256:${createHash('sha256').update(key).digest('base64')}`
}

/** The fields below `deadline` belong to the line. Others may read them. */
export class Entry {
  /** The index of the entry's name. */
  readonly job: number
  readonly key: string
  /** Whose keys share a share: a client whose routes are its keys. Undefined if the key has a share of its own. */
  readonly owner: string | undefined
  readonly priority: Priority
  /** An instant on the clock that the line is given, or Infinity. */
  readonly deadline: number

  state: EntryState = 'new'
  /** When the entry was offered. */
  arrived = 0
  /**
   * Since when the entry waits where it is now: later than `arrived` for an entry that has waited for a permit of its
   * name.
   */
  since = 0
  /** When the entry was last given to a server. */
  takenAt = 0
  /** The entry's number in the order of arrival. */
  sequence = 0
  /** The client has left. */
  left = false
  /**
   * The entry was admitted because a server was free. It is not refused afterwards, so a wrong estimate is always put
   * to the test.
   */
  assured = false
  /**
   * The run time that was expected of the entry's key and name when it was offered, in ms; the least cost for a name
   * without an estimate.
   */
  expected = LEAST_COST_MS
  /** What its key was charged in the line of its name when the entry had its permit, in ms. */
  charged = 0
  /** The entry's key was not known to have run when the entry was offered. */
  isStranger = false
  /**
   * The queue of its key, while that counts the entry, as waiting or as running. An entry that found a server free is
   * counted once others have to wait.
   */
  queue: object | undefined
  #link: Link<Entry> | undefined
  #ageLink: Link<Entry> | undefined

  constructor (job: number, key: string, priority: Priority, deadline: number, owner?: string) {
    this.job = job
    this.owner = owner
    this.key = compact(key)
    this.priority = priority
    this.deadline = deadline
  }

  /** Whose share the entry takes: its owner, or its key. */
  get clientKey (): string {
    return this.owner ?? this.key
  }

  /** The link in a list of the entry's queue. */
  get link (): Link<Entry> {
    return (this.#link ??= new Link(this))
  }

  /** The link in the list of all that wait, by age. */
  get ageLink (): Link<Entry> {
    return (this.#ageLink ??= new Link(this))
  }
}
