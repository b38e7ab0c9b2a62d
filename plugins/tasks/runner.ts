/**
 * Runs accepted tasks: the queue, the slots, retries that hold no slot, functions that ignore their signal.
 * Whether a task is accepted, and what becomes of its id and its place, is the scheduler's.
 */
import type { Clock } from '../clock.ts'
import type { Abandoned } from '../drainables.ts'
import { TaskAbortedError, TaskThrewError, TaskTimeoutError } from '../errors.ts'
import { Attempt } from './attempt.ts'
import { List } from './list.ts'
import type { Observer } from './observer.ts'
import { retryIn } from './retry.ts'
import { Running } from './running.ts'
import type { Outcome, Task } from './task.ts'
import { Timers } from './timers.ts'

export interface RunnerOptions {
  /** Slots. */
  concurrency: number
  /** How long a function may ignore its signal before it counts as leaked, in ms. */
  grace: number
  clock: Clock
  /** From [0, 1). */
  random: () => number
  observer: Observer
  /** The task has its outcome. */
  ended: (task: Task, outcome: Outcome, value: unknown) => void
  /** Whether a task may be parked until then, or is to be given up. */
  mayWait: (task: Task) => boolean
}

export class Runner {
  readonly #options: RunnerOptions
  readonly #timers = new Timers()
  readonly #queue = new List<Task>()
  readonly #running: Running
  /** Settled as leaked, while their functions run on. */
  readonly leaked = new Set<Task>()
  /** By a drain that doesn't sit out their backoff. */
  readonly givenUp: Abandoned[] = []
  readonly counts = { completed: 0, failed: 0, retried: 0, aborted: 0 }
  #busy = 0
  #meanRunMs = 0
  #pumping = false
  #retrying = true

  constructor (options: RunnerOptions) {
    this.#options = options
    this.#running = new Running(options.clock, this.#timers, (task) => this.#due(task))
  }

  /** Slots in use. */
  get busy (): number { return this.#busy }
  get timers (): number { return this.#timers.count }
  get running (): number { return this.#running.size }
  get meanRunMs (): number { return this.#meanRunMs }

  /** Into the queue, or onto a timer first. */
  park (task: Task, delay: number): void {
    if (delay <= 0) {
      this.#queue.push(task)
      return this.#pumpSoon()
    }
    task.dueAt = this.#options.clock.now() + delay
    if (!this.#options.mayWait(task)) return this.giveUp(task)
    task.timer = this.#timers.set(delay, () => {
      task.timer = undefined
      this.park(task, 0)
    })
  }

  /** Takes a task that isn't running out of the queue and off its timer. */
  remove (task: Task): void {
    this.#queue.remove(task)
    this.#timers.clear(task.timer)
    task.timer = undefined
  }

  /** `newcomer` takes over the position of a task that is in the queue. False if it isn't. */
  replace (task: Task, newcomer: Task): boolean {
    if (task.list === undefined) return false
    this.#queue.replace(task, newcomer)
    return true
  }

  giveUp (task: Task): void {
    this.givenUp.push(task.describe(this.#options.clock.now()))
    this.cancel(task, 'given up by the shutdown')
  }

  stopRetrying (): void {
    this.#retrying = false
  }

  cancel (task: Task, why: string, grace = this.#options.grace): void {
    if (task.settled) return
    task.cancelled ??= new TaskAbortedError(task.id, why, ...(task.lastError === undefined ? [] : [{ cause: task.lastError }]))
    if (this.#running.has(task)) this.#interrupt(task, task.cancelled, grace)
    // While it is being settled, what has become of it is decided there.
    else if (task.status !== 'running') this.#abort(task, task.cancelled)
  }

  /** Asked again, it gets no more time. */
  #interrupt (task: Task, reason: Error, grace: number): void {
    const graceEnds = this.#options.clock.now() + grace
    task.dueAt = Attempt.reasonOf(task.current!) === undefined ? graceEnds : Math.min(task.dueAt, graceEnds)
    this.#running.add(task)
    Attempt.abort(task.current!, reason)
  }

  #due (task: Task): void {
    if (Attempt.reasonOf(task.current!) !== undefined) return this.#leak(task)
    this.#interrupt(task, new TaskTimeoutError(task.id, task.options.timeout), this.#options.grace)
  }

  // In a microtask, so that submit() returns before the function starts.
  #pumpSoon (): void {
    if (this.#pumping) return
    this.#pumping = true
    queueMicrotask(() => {
      this.#pumping = false
      while (this.#busy < this.#options.concurrency) {
        const task = this.#queue.shift()
        if (task === undefined) return
        this.#start(task)
      }
    })
  }

  #start (task: Task): void {
    const { clock, observer } = this.#options
    this.#busy++
    task.status = 'running'
    task.attempts++
    task.startedAt = clock.now()
    task.dueAt = task.startedAt + task.options.timeout
    task.current = new Attempt(task, observer.log)
    this.#running.add(task)
    observer.started(task, task.startedAt - task.since)
    let result: unknown
    try {
      result = task.runInAsyncScope(observer.call, observer, task, task.current)
    } catch (error) {
      return this.#settled(task, false, error)
    }
    if (result instanceof Promise) result.then((value) => this.#settled(task, true, value), (error: unknown) => this.#settled(task, false, error))
    else this.#settled(task, true, result)
  }

  #settled (task: Task, ok: boolean, value: unknown): void {
    if (task.settled) return this.#endOfLeak(task)
    this.#running.delete(task)
    const durationMs = this.#options.clock.now() - task.startedAt
    this.#meanRunMs += (durationMs - this.#meanRunMs) * (this.#meanRunMs === 0 ? 1 : 0.1)
    this.#busy--
    this.#pumpSoon()
    if (ok) {
      this.counts.completed++
      this.#options.ended(task, 'completed', value)
      return this.#options.observer.completed(task, durationMs)
    }
    const reason = Attempt.reasonOf(task.current!)
    const thrown = value instanceof Error ? value : new TaskThrewError(task.id, describe(value), { cause: value })
    if (reason !== undefined && reason !== thrown) reason.cause ??= thrown
    this.#failOrRetry(task, reason ?? thrown)
  }

  #failOrRetry (task: Task, error: Error): void {
    task.lastError = error
    const delay = this.#retrying ? retryIn(task, error, this.#options.random) : undefined
    if (delay === undefined) return this.#fail(task, error)
    task.status = 'retrying'
    this.park(task, delay)
    if (task.settled) return
    this.counts.retried++
    this.#options.observer.retried(task, error, delay)
  }

  /** For good. It is settled before anybody is told: who is told may call us. */
  #fail (task: Task, error: Error): void {
    if (task.cancelled !== undefined) return this.#abort(task, task.cancelled, error)
    this.counts.failed++
    this.#options.ended(task, 'failed', error)
    this.#options.observer.failed(task, error)
  }

  #abort (task: Task, error: Error, cause?: Error): void {
    if (cause !== undefined && cause !== error) error.cause ??= cause
    this.counts.aborted++
    this.#options.ended(task, 'aborted', error)
    this.#options.observer.aborted(task, error)
  }

  /**
   * Its slot is free again, or a few functions that never end would end the service. But as many leaked ones as there are
   * slots are too many: from then on each keeps its slot, so that at most twice `concurrency` functions run.
   * It isn't tried again: two attempts would run at once.
   */
  #leak (task: Task): void {
    if (this.leaked.size < this.#options.concurrency) {
      this.#busy--
      this.#pumpSoon()
    }
    this.#running.delete(task)
    this.leaked.add(task)
    this.#fail(task, Attempt.reasonOf(task.current!)!)
    this.#options.observer.leaked(task)
  }

  #endOfLeak (task: Task): void {
    if (this.leaked.size > this.#options.concurrency) {
      this.#busy--
      this.#pumpSoon()
    }
    this.leaked.delete(task)
  }
}

function describe (value: unknown): string {
  if (typeof value === 'function') return 'a function'
  return typeof value === 'object' && value !== null ? 'an object' : String(value).slice(0, 200)
}
