/**
 * One run of a task's function: its signal, its deadline, and whether it heeds them.
 *
 * JavaScript can't stop a function. So an aborted attempt still counts as running until the function settles, and if it
 * succeeds after all, it has succeeded: an email that was sent isn't sent again. Only a function that hasn't settled `grace`
 * ms after its signal is given up as leaked.
 */
import type { Timers } from './timers.ts'

export interface AttemptEvents {
  /** The function has settled: once, and after leaked() as well. */
  settled: (ok: boolean, value: unknown) => void
  /** The function ignores its signal. */
  leaked: () => void
}

export class Attempt {
  readonly #timers: Timers
  readonly #events: AttemptEvents
  #controller: AbortController | undefined
  #deadline: NodeJS.Timeout | undefined
  #grace: NodeJS.Timeout | undefined
  #aborted = false
  #settled = false
  reason: unknown

  constructor (timers: Timers, events: AttemptEvents) {
    this.#timers = timers
    this.#events = events
  }

  get aborted (): boolean {
    return this.#aborted
  }

  /** Made when first read: most functions are over before they would need one. */
  get signal (): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#aborted) this.#controller.abort(this.reason)
    }
    return this.#controller.signal
  }

  /** `run` may return anything and may throw. `onTimeout` is expected to abort(). */
  start (run: () => unknown, timeout: number, onTimeout: () => void): void {
    this.#deadline = this.#timers.set(timeout, onTimeout)
    let result: unknown
    try {
      result = run()
    } catch (error) {
      return this.#settle(false, error)
    }
    if (isThenable(result)) result.then((value) => this.#settle(true, value), (error: unknown) => this.#settle(false, error))
    else this.#settle(true, result)
  }

  /** The first reason holds; a later call may only change the grace. */
  abort (reason: unknown, grace: number): void {
    if (this.#settled) return
    this.#clear()
    this.#grace = this.#timers.set(grace, this.#events.leaked)
    if (this.#aborted) return
    this.#aborted = true
    this.reason = reason
    this.#controller?.abort(reason)
  }

  #settle (ok: boolean, value: unknown): void {
    this.#settled = true
    this.#clear()
    this.#events.settled(ok, value)
  }

  #clear (): void {
    this.#timers.clear(this.#deadline)
    this.#timers.clear(this.#grace)
  }
}

function isThenable (value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}
