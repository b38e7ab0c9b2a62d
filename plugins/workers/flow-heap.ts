/** A binary heap of flows, the one whose first job ends earliest in virtual time on top. Each flow knows its index. */
import type { Flow } from './flow.ts'

function before (a: Flow, b: Flow): boolean {
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
