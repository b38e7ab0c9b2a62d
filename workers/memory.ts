/** Whether this thread has outgrown its bound. */
import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Reading the heap's size takes microseconds: not after every job of a microsecond. */
const CHECK_EVERY = 100

let collect: (() => void) | undefined

function used (): number {
  const heap = getHeapStatistics()
  return heap.used_heap_size + heap.external_memory
}

export class MemoryBound {
  readonly #max: number
  #checkedAt = -Infinity

  constructor (max: number) {
    this.#max = max
  }

  /** The bytes in use if they are past the bound even after a garbage collection, else undefined. */
  exceeded (now: number): number | undefined {
    if (this.#max === Infinity || now - this.#checkedAt < CHECK_EVERY) return undefined
    this.#checkedAt = now
    if (used() <= this.#max) return undefined
    // Garbage is no leak: a thread that only allocates much must not be replaced again and again.
    if (collect === undefined) {
      setFlagsFromString('--expose-gc')
      collect = runInNewContext('gc') as () => void
    }
    // The first sweeps buffers in the background, and still counts them; the second waits for that.
    collect()
    collect()
    const bytes = used()
    return bytes > this.#max ? bytes : undefined
  }
}
