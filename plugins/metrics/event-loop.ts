/** The event loop's delay and utilisation, each since the last reading: averages since the start of the process would hide what happens now. */
import { monitorEventLoopDelay, performance, type EventLoopUtilization } from 'node:perf_hooks'

/** How far the event loop was behind, in ms, and which share of the time it was busy. */
export interface EventLoopSnapshot {
  /** The share of the time in which the event loop was busy, from 0 to 1. */
  utilization: number
  /** The mean delay, in ms. */
  delayMean: number
  /** The 99th percentile of the delays, in ms. */
  delayP99: number
  /** The longest delay, in ms. */
  delayMax: number
}

/**
 * The time between two samples of the delay, in ms. Each sample wakes an idle process. Node's histogram includes this interval, so read() subtracts it.
 */
const RESOLUTION_MS = 20

export class EventLoop {
  readonly #delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  readonly #window: number
  #utilization: EventLoopUtilization = performance.eventLoopUtilization()
  #read: { at: number, snapshot: EventLoopSnapshot } | undefined

  /** @param window how long, in ms, a reading stays the answer: readers that read less often than that share the values */
  constructor (window = 0) {
    this.#window = window
    this.#delay.enable()
  }

  /** Returns the values since the last reading. Two readers would shorten each other's interval, so each needs an instance of its own, or a window. */
  read (): EventLoopSnapshot {
    const at = performance.now()
    if (this.#read === undefined || at - this.#read.at >= this.#window) this.#read = { at, snapshot: this.#take() }
    return this.#read.snapshot
  }

  #take (): EventLoopSnapshot {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, this.#utilization)
    this.#utilization = now
    const ms = (nanoseconds: number): number => this.#delay.count === 0 ? 0 : Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS)
    const snapshot = { utilization, delayMean: ms(this.#delay.mean), delayP99: ms(this.#delay.percentile(99)), delayMax: ms(this.#delay.max) }
    this.#delay.reset()
    return snapshot
  }

  close (): void {
    this.#delay.disable()
  }
}
