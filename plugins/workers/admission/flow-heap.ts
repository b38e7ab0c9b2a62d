/** A binary heap of flows, with the flow to be served next on top. Each flow knows its index. */
import type { Flow } from './key-queue.ts'

/** Demoted flows come last, the one with the newest job first. Of the others, the flow whose next job ends earliest in virtual time comes first. */
function before (a: Flow, b: Flow): boolean {
  if (a.demoted !== b.demoted) return b.demoted
  if (a.demoted) return a.head!.sequence > b.head!.sequence
  return a.finish < b.finish || (a.finish === b.finish && a.turn < b.turn)
}

export class FlowHeap {
  readonly #flows: Flow[] = []

  get size (): number {
    return this.#flows.length
  }

  get top (): Flow | undefined {
    return this.#flows[0]
  }

  add (flow: Flow): void {
    this.#flows.push(flow)
    this.#up(flow, this.#flows.length - 1)
  }

  /** To be called when the order of `flow` may have changed. */
  moved (flow: Flow): void {
    this.#up(flow, flow.heapIndex)
    this.#down(flow, flow.heapIndex)
  }

  remove (flow: Flow): void {
    const last = this.#flows.pop()!
    if (last !== flow) {
      last.heapIndex = flow.heapIndex
      this.#flows[last.heapIndex] = last
      this.moved(last)
    }
    flow.heapIndex = -1
  }

  #up (flow: Flow, index: number): void {
    const flows = this.#flows
    while (index > 0) {
      const above = (index - 1) >> 1
      const parent = flows[above]!
      if (!before(flow, parent)) break
      flows[index] = parent
      parent.heapIndex = index
      index = above
    }
    flows[index] = flow
    flow.heapIndex = index
  }

  #down (flow: Flow, index: number): void {
    const flows = this.#flows
    for (;;) {
      let below = 2 * index + 1
      if (below >= flows.length) break
      if (below + 1 < flows.length && before(flows[below + 1]!, flows[below]!)) below++
      const child = flows[below]!
      if (!before(child, flow)) break
      flows[index] = child
      child.heapIndex = index
      index = below
    }
    flows[index] = flow
    flow.heapIndex = index
  }
}
