/**
 * FairQueue is a queue in which keys take turns: round robin between keys, first in, first out within one. A key with a thousand members
 * delays the first member of another key by one turn, not by a thousand.
 */
import { List, type Linked } from '../../shared/collections/list.ts'

export interface Keyed<T extends Keyed<T>> extends Linked<T> {
  readonly key: string
}

/** Flow, in the terms of fair queueing, holds the members of one key. It has one turn a round. */
class Flow<T extends Keyed<T>> extends List<T> implements Linked<Flow<T>> {
  readonly key: string
  list: List<Flow<T>> | undefined
  previous: Flow<T> | undefined
  next: Flow<T> | undefined

  constructor (key: string) {
    super()
    this.key = key
  }
}

export class FairQueue<T extends Keyed<T>> {
  readonly #flows = new Map<string, Flow<T>>()
  /** The keys that have members, in the order of their turns. */
  readonly #turns = new List<Flow<T>>()
  #size = 0

  get size (): number { return this.#size }

  push (member: T): void {
    let flow = this.#flows.get(member.key)
    if (flow === undefined) {
      flow = new Flow(member.key)
      this.#flows.set(member.key, flow)
      this.#turns.push(flow)
    }
    flow.push(member)
    this.#size++
  }

  /** Takes out the member whose turn it is. */
  shift (): T | undefined {
    const flow = this.#turns.first
    const member = flow?.first
    if (flow === undefined || member === undefined) return undefined
    this.#turns.remove(flow)
    this.#turns.push(flow)
    this.#take(flow, member)
    return member
  }

  /** Returns false if the member isn't in this queue, or isn't any more. */
  remove (member: T): boolean {
    const flow = this.#flows.get(member.key)
    return flow !== undefined && member.list === flow && this.#take(flow, member)
  }

  #take (flow: Flow<T>, member: T): boolean {
    flow.remove(member)
    this.#size--
    if (flow.size > 0) return true
    this.#turns.remove(flow)
    return this.#flows.delete(flow.key)
  }
}
