/** A binary heap of per-key queues, with the one to be served next on top. Each queue knows its index. */
import type { KeyQueue } from './key-queue.ts'

/**
 * Demoted queues come last, and of these the one with the newest entry first. Of the others, the queue whose next entry ends earliest in virtual time
 * comes first; if two are equal, the one whose next entry arrived first.
 */
function isBefore (a: KeyQueue, b: KeyQueue): boolean {
  if (a.demoted !== b.demoted) return b.demoted
  if (a.demoted) return a.nextSequence > b.nextSequence
  return a.finish < b.finish || (a.finish === b.finish && a.nextSequence < b.nextSequence)
}

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
