/**
 * Runs accepted tasks: the queue, the slots, retries that hold no slot, functions that ignore their signal.
 * Whether a task is accepted, and what becomes of its id and its place, is the scheduler's.
 */
import type { Clock } from '../shared/clock.ts'
import type { Unfinished } from '../shared/drainables.ts'
import { TaskAbortedError, TaskTimeoutError } from '../shared/errors.ts'
import { Attempt } from './attempt.ts'
import { List } from './list.ts'
import type { Observer } from './observer.ts'
import { retryIn } from './retry.ts'
import { Running } from './running.ts'
import type { Outcome, Task } from './task.ts'
import { addCause, toError } from './thrown.ts'
import { Timers } from './timers.ts'
import { Turn } from './turns.ts'

/** The promise is one of ours by now, but may still have a `then` of its own. */
const adopted = Promise.prototype.then

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
  /** The function of a leaked task has ended after all. */
  stopped: (task: Task) => void
  /** Whether a task may be parked until then, or is to be given up. */
  mayWait: (task: Task) => boolean
}

export class Runner {
  readonly #options: RunnerOptions
  readonly #timers = new Timers()
  readonly #queue = new List<Task>()
  readonly #turn = new Turn()
  readonly #running: Running
  /** Settled as leaked, while their functions run on. */
  readonly leaked = new Set<Task>()
  /** By a drain that doesn't sit out their backoff. */
  readonly givenUp: Unfinished[] = []
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
  /** Tasks that wait for a slot. */
  get queued (): number { return this.#queue.size }
  get running (): number { return this.#running.size }
  get meanRunMs (): number { return this.#meanRunMs }

  /** Into the queue, or onto a timer first. */
  park (task: Task, delay: number): void {
    // Whoever was told of the submission may have cancelled it.
    if (task.settled) return
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
    queueMicrotask(() => this.#pump())
  }

  #pump (): void {
    this.#pumping = false
    while (this.#busy < this.#options.concurrency && this.#queue.size > 0) {
      if (this.#turn.isOver()) {
        this.#pumping = true
        setImmediate(() => this.#pump())
        return
      }
      this.#start(this.#queue.shift()!)
    }
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
    if (result instanceof Promise) void adopted.call(result, (value) => this.#settled(task, true, value), (error: unknown) => this.#settled(task, false, error))
    else this.#settled(task, true, result)
  }

  #settled (task: Task, ok: boolean, value: unknown): void {
    this.#options.observer.stopped(task)
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
    const thrown = toError(task.id, value)
    if (reason !== undefined) addCause(reason, thrown)
    this.#failOrRetry(task, reason ?? thrown)
  }

  #failOrRetry (task: Task, error: Error): void {
    task.lastError = error
    const wait = this.#retrying ? retryIn(task, error, this.#options.random, this.#options.observer) : undefined
    if (wait === undefined) return this.#fail(task, error)
    // At least 1 ms, on a timer: attempts that fail at once would otherwise follow one another without a turn of the event loop.
    const delay = Math.max(wait, 1)
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
    if (cause !== undefined) addCause(error, cause)
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
    this.#options.stopped(task)
  }
}
