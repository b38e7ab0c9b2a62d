/**
 * Finds the per-key queue with the most entries: the one from which a full queue evicts. Queues of equal length form a list, and a length changes by
 * one at a time, so that each change and each answer is O(1).
 */
import type { KeyQueue } from './key-queue.ts'
import { LinkedList } from './linked-list.ts'

export class LongestQueue {
  /** By length; index 0 is unused. */
  readonly #byLength: (LinkedList<KeyQueue> | undefined)[] = [undefined]
  /** The length of the longest queue; 0 if there is none. */
  #most = 0

  get queue (): KeyQueue | undefined {
    return this.#byLength[this.#most]?.last
  }

  /** Call this method when the length of `queue` has grown or shrunk by one. */
  moved (queue: KeyQueue): void {
    const { length, lengthLink } = queue
    lengthLink.remove()
    if (length > 0) (this.#byLength[length] ??= new LinkedList()).append(lengthLink)
    if (length > this.#most) this.#most = length
    // The list of the longest is empty only if its last queue has shrunk by one just now.
    else if (this.queue === undefined) this.#most--
  }
}
