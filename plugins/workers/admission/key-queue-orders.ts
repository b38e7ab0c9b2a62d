/** Two orders of the per-key queues with entries: which is served next, and which is the longest. */
import type { KeyQueue } from './key-queue.ts'
import { LinkedList } from './linked-list.ts'

/**
 * Demoted queues come last, and of these the one with the newest entry first. Of the others, the queue whose next entry ends earliest in virtual time
 * comes first; if two are equal, the one whose next entry arrived first.
 */
function isBefore (a: KeyQueue, b: KeyQueue): boolean {
  if (a.demoted !== b.demoted) return b.demoted
  if (a.demoted) return a.nextSequence > b.nextSequence
  return a.finish < b.finish || (a.finish === b.finish && a.nextSequence < b.nextSequence)
}

/** KeyQueueHeap is a binary heap, with the queue to be served next on top. Each queue knows its index. */
export class KeyQueueHeap {
  readonly #queues: KeyQueue[] = []

  get size (): number {
    return this.#queues.length
  }

  get top (): KeyQueue | undefined {
    return this.#queues[0]
  }

  add (queue: KeyQueue): void {
    this.#queues.push(queue)
    this.#up(queue, this.#queues.length - 1)
  }

  /** Call this method when the order of `queue` may have changed. */
  moved (queue: KeyQueue): void {
    this.#up(queue, queue.heapIndex)
    this.#down(queue, queue.heapIndex)
  }

  remove (queue: KeyQueue): void {
    const last = this.#queues.pop()
    if (last !== undefined && last !== queue) {
      this.#put(last, queue.heapIndex)
      this.moved(last)
    }
    queue.heapIndex = -1
  }

  #put (queue: KeyQueue, index: number): void {
    this.#queues[index] = queue
    queue.heapIndex = index
  }

  #up (queue: KeyQueue, index: number): void {
    while (index > 0) {
      const above = (index - 1) >> 1
      const parent = this.#queues[above]
      if (parent === undefined || !isBefore(queue, parent)) break
      this.#put(parent, index)
      index = above
    }
    this.#put(queue, index)
  }

  #down (queue: KeyQueue, index: number): void {
    for (;;) {
      let below = 2 * index + 1
      let child = this.#queues[below]
      const other = this.#queues[below + 1]
      if (child !== undefined && other !== undefined && isBefore(other, child)) {
        child = other
        below++
      }
      if (child === undefined || !isBefore(child, queue)) break
      this.#put(child, index)
      index = below
    }
    this.#put(queue, index)
  }
}

/**
 * LongestQueue finds the queue with the most entries: the one from which a full queue evicts. Queues of equal length form a list, and a length changes
 * by one at a time, so that each change and each answer is O(1).
 */
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
