/**
 * Which flow has the most jobs waiting: the one a full queue evicts from. Flows of equal length form a list, and lengths change
 * by one, so each change is O(1) and so is the answer: a heap would cost O(log n) on every arrival for what only a full queue asks.
 */
import type { Flow } from './key-queue.ts'

export class Longest {
  /** By length; index 0 is unused. */
  readonly #byLength: (Flow | undefined)[] = [undefined]
  #max = 0

  get flow (): Flow | undefined {
    return this.#byLength[this.#max]
  }

  /** To be called after a flow's length went from `before` to `before ± 1`. */
  moved (flow: Flow, before: number): void {
    if (before > 0) this.#unlink(flow, before)
    if (flow.length > 0) this.#link(flow, flow.length)
    // Invariant: #max is the greatest length with a list that isn't empty, 0 if there is none. A flow that left the
    // longest list went one down or one up, so the list to look at next is known.
    if (flow.length > this.#max) this.#max = flow.length
    else if (this.#byLength[this.#max] === undefined) this.#max = before - 1
  }

  #link (flow: Flow, length: number): void {
    const next = this.#byLength[length]
    flow.peerNext = next
    flow.peerPrevious = undefined
    if (next !== undefined) next.peerPrevious = flow
    this.#byLength[length] = flow
  }

  #unlink (flow: Flow, length: number): void {
    const { peerNext: next, peerPrevious: previous } = flow
    if (previous === undefined) this.#byLength[length] = next
    else previous.peerNext = next
    if (next !== undefined) next.peerPrevious = previous
    flow.peerNext = flow.peerPrevious = undefined
  }
}
