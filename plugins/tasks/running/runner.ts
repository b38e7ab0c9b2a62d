/**
 * Runner runs tasks that were accepted: those that wait for a slot, a delay or a retry, those that run, and functions
 * that ignore their signal (leaked). Each task ends in settle(), with one outcome. The runner doesn't decide which
 * tasks are accepted.
 */
import type { FastifyBaseLogger } from 'fastify'
import { Entry } from '../../core/line/entry.ts'
import { FairQueue } from '../../core/line/fair-queue.ts'
import { aborted, completed, expired, failed, type Outcome } from '../../core/ledger/ledger.ts'
import { DenseSet } from '../../shared/collections/dense-set.ts'
import type { Unfinished } from '../../shared/drainables.ts'
import { MAX_DURATION } from '../../shared/options.ts'
import { TaskAbortedError, TaskTimeoutError } from '../../shared/errors.ts'
import type { TaskLedger } from '../ledger.ts'
import { Attempt, type Task } from '../task.ts'
import { addCause, toError } from '../thrown.ts'
import { Turn } from '../turns.ts'
import { secondsUntilFree } from './capacity.ts'
import { retryDelay, StoredRetry, wantsRetry } from './retry.ts'

/**
 * Promise.prototype.then, called directly: a promise that a function returns may have a `then` of its own, which must
 * not be called.
 */
const adopted = Promise.prototype.then

/**
 * What a turn of a key costs until its task has run, and at least, in ms: the resolution of Node's timers. Afterwards a
 * key pays the time for which its task has held a slot, so keys whose tasks are quick have more turns than keys whose
 * tasks are slow.
 */
const TURN_MS = 1

/** The weight of the newest run in the mean run time. The mean follows about the last ten runs. */
const NEWEST = 0.1

/** A task in the queue. A task that is accepted is never refused afterwards. */
class Waiting extends Entry {
  readonly task: Task

  constructor (task: Task, sequence: number) {
    super(0, task.key, 'normal', Infinity)
    this.task = task
    this.sequence = sequence
    this.expected = TURN_MS
    this.assured = true
    this.state = 'runnable'
  }
}

export interface RunnerOptions {
  /** How many functions run at once: the slots. */
  concurrency: number
  /** How long a function may ignore its signal before it counts as leaked, in ms. */
  grace: number
  ledger: TaskLedger
  /** The parent of each task's logger. */
  log: FastifyBaseLogger
  /** Is called when a task has its outcome. If its function runs on, the task is in `leaked`, and stopped() follows. */
  settled: (task: Task) => void
  /** Is called when the function of a leaked task has ended after all. */
  stopped: (task: Task) => void
}

interface Delayed {
  dueAt: number
  timer: NodeJS.Timeout
}

export class Runner {
  readonly #options: RunnerOptions
  /** Tasks that wait for a slot, while all slots are taken. */
  readonly #queue = new FairQueue<Waiting>()
  /** Tasks that have a slot, and whose functions start in the next microtask. */
  readonly #starting: Task[] = []
  #sequence = 0
  /** Tasks that wait for their delay or their retry. */
  readonly #delayed = new Map<Task, Delayed>()
  readonly #running = new DenseSet<Attempt>()
  /**
   * One timer for all attempts, for the earliest `dueAt`: a timer for each costs a fifth of a short task. It is kept
   * while nothing runs, since the next attempt would arm it again, but then it doesn't hold the process open.
   */
  #timer: NodeJS.Timeout | undefined
  #timerDueAt = Infinity
  /** Tasks that have their outcome, while their functions run on. */
  readonly leaked = new Set<Task>()
  /** What drain() has given up. */
  readonly givenUp: Unfinished[] = []
  readonly #turn = new Turn()
  #meanRunMs: number | undefined
  #isPumping = false
  /** A delay or retry that is due later than this many ms from now is given up. */
  #longestDelay = Infinity

  constructor (options: RunnerOptions) {
    this.#options = options
  }

  get running (): number { return this.#running.size }
  /** How many timers hold the process open. */
  get timers (): number {
    return this.#delayed.size + (this.#running.size === 0 || this.#timer === undefined ? 0 : 1)
  }

  /**
   * The slot of a leaked function goes to other tasks; otherwise a few functions that never end would stop the service.
   * At most `concurrency` leaked functions give up their slots. Each further one keeps its slot, so that at most twice
   * `concurrency` functions run.
   */
  get #busy (): number {
    return this.#running.size + Math.max(this.leaked.size - this.#options.concurrency, 0)
  }

  /**
   * Runs the task when it has a slot: at the earliest in a microtask, so that submit() returns before the function
   * starts.
   */
  run (task: Task, delay: number): void {
    // A listener of the channel tasks:submitted may have cancelled the task.
    if (task.settled) return
    task.keepContext()
    if (delay > 0) return this.#runLater(task, delay)
    if (this.#hasSlot) this.#starting.push(task)
    else this.#queue.push(task.entry = new Waiting(task, ++this.#sequence))
    this.#pumpSoon()
  }

  /** Runs the task at once if it has a slot, and otherwise when it has one. */
  runNow (task: Task): void {
    if (this.#hasSlot) this.#start(task)
    else this.run(task, 0)
  }

  /** Whether there is a slot for a task that comes now: nobody waits for one, and its key owes nothing for it. */
  get #hasSlot (): boolean {
    return this.#queue.length === 0 && this.#busy + this.#starting.length < this.#options.concurrency
  }

  #runLater (task: Task, delay: number): void {
    if (delay > this.#longestDelay) return this.#giveUp(task)
    const timer = setTimeout(() => {
      this.#delayed.delete(task)
      this.run(task, 0)
    }, delay)
    // Not unref'd: the task was accepted, and a process that ended meanwhile would lose it without a report.
    this.#delayed.set(task, { timer, dueAt: performance.now() + delay })
  }

  abort (task: Task, why: string, grace = this.#options.grace): void {
    if (task.settled) return
    task.abortedBy ??= new TaskAbortedError(task.id, why,
      ...(task.lastError === undefined ? [] : [{ cause: task.lastError }]))
    if (task.running !== undefined) this.#interrupt(task.running, task.abortedBy, grace)
    // A task that is being settled gets its outcome from the code that settles it.
    else if (task.status !== 'running') this.#settle(task, aborted(task.abortedBy))
  }

  /** Gives up delays and retries that are due later than `longest` ms from now, from now on. */
  drain (longest: number): void {
    this.#longestDelay = Math.min(longest, this.#longestDelay)
    const now = performance.now()
    for (const [task, { dueAt }] of [...this.#delayed]) if (dueAt - now > this.#longestDelay) this.#giveUp(task)
  }

  /** Returns the whole seconds after which a refused task may find a place. */
  secondsUntilFree (reserved: number): number {
    let nextDueAt = Infinity
    for (const { dueAt } of this.#delayed.values()) nextDueAt = Math.min(nextDueAt, dueAt)
    const { concurrency } = this.#options
    const queued = this.#queue.length + this.#starting.length + reserved
    return secondsUntilFree({
      running: this.#running.all(), queued, nextDueAt, concurrency, meanRunMs: this.#meanRunMs
    }, performance.now())
  }

  #giveUp (task: Task): void {
    this.givenUp.push(task.describe(performance.now()))
    this.abort(task, 'the shutdown does not wait for its delay or retry')
  }

  #pumpSoon (): void {
    if (this.#isPumping) return
    this.#isPumping = true
    queueMicrotask(() => this.#pump())
  }

  #pump (): void {
    this.#isPumping = false
    while (this.#busy < this.#options.concurrency && this.#starting.length + this.#queue.length > 0) {
      if (this.#turn.isOver()) {
        this.#isPumping = true
        setImmediate(() => this.#pump())
        return
      }
      const task = this.#starting.shift() ?? this.#take()
      if (task?.settled === false) this.#start(task)
    }
  }

  #take (): Task | undefined {
    const entry = this.#queue.next?.head as Waiting | undefined
    if (entry === undefined) return undefined
    this.#queue.take(entry)
    entry.state = 'taken'
    return entry.task
  }

  #start (task: Task): void {
    const { log, ledger } = this.#options
    task.start()
    const attempt = new Attempt(task, performance.now(), log)
    task.running = attempt
    this.#running.add(attempt)
    if (attempt.dueAt < this.#timerDueAt) this.#arm(attempt.dueAt)
    else if (this.#running.size === 1) this.#timer?.ref()
    ledger.started(task, attempt.startedAt - task.acceptedAt)
    let result: unknown
    try {
      result = attempt.call(this.#call)
    } catch (error) {
      return this.#ended(attempt, false, error)
    }
    if (result instanceof Promise) {
      void adopted.call(result, (value) => this.#ended(attempt, true, value),
        (error: unknown) => this.#ended(attempt, false, error))
    } else this.#ended(attempt, true, result)
  }

  /**
   * Calls the function. A thenable that it returns may run a query at each call of `then`, or settle twice;
   * Promise.resolve() calls `then` once.
   */
  readonly #call = (attempt: Attempt): unknown => {
    const result = this.#options.ledger.call(attempt)
    const isObject = (typeof result === 'object' && result !== null) || typeof result === 'function'
    return isObject ? Promise.resolve(result) : result
  }

  #interrupt (attempt: Attempt, reason: Error, grace: number): void {
    attempt.abort(reason, performance.now() + grace)
    if (attempt.dueAt < this.#timerDueAt) this.#arm(attempt.dueAt)
  }

  #arm (dueAt: number): void {
    clearTimeout(this.#timer)
    this.#timerDueAt = dueAt
    this.#timer = dueAt === Infinity
      ? undefined
      : setTimeout(this.#check, Math.min(Math.ceil(dueAt - performance.now()), MAX_DURATION))
  }

  /** Ends the attempts that are due. The others are checked again later. */
  readonly #check = (): void => {
    const now = performance.now()
    for (const attempt of this.#running.all()) if (attempt.dueAt <= now) this.#due(attempt)
    let next = Infinity
    for (const { dueAt } of this.#running.all()) next = Math.min(next, dueAt)
    this.#arm(next)
  }

  #due (attempt: Attempt): void {
    if (attempt.reason !== undefined) return this.#leak(attempt, attempt.reason)
    this.#interrupt(attempt, new TaskTimeoutError(attempt.task.id, attempt.task.options.timeout), this.#options.grace)
  }

  /** Takes its slot from an attempt, and returns how long the attempt has run, in ms. */
  #remove (attempt: Attempt): number {
    const { task, startedAt } = attempt
    task.running = undefined
    this.#running.delete(attempt)
    if (this.#running.size === 0) this.#timer?.unref()
    const ms = performance.now() - startedAt
    if (task.entry !== undefined) this.#queue.settle(task.entry, Math.max(TURN_MS, ms))
    task.entry = undefined
    return ms
  }

  /** The function of an attempt has ended. */
  #ended (attempt: Attempt, ok: boolean, value: unknown): void {
    const { task } = attempt
    this.#pumpSoon()
    if (this.leaked.delete(task)) return this.#options.stopped(task)
    const durationMs = this.#remove(attempt)
    this.#meanRunMs = this.#meanRunMs === undefined
      ? durationMs
      : this.#meanRunMs + (durationMs - this.#meanRunMs) * NEWEST
    if (ok) return this.#settle(task, completed(value, durationMs))
    const thrown = toError(task.id, value)
    if (attempt.reason !== undefined) addCause(attempt.reason, thrown)
    this.#failed(task, attempt.reason ?? thrown)
  }

  #failed (task: Task, error: Error): void {
    const delay = this.#nextAttemptIn(task, error)
    if (delay === undefined) return this.#fail(task, error)
    if (task.submission.stored !== undefined) return this.#handBack(task, error, delay)
    task.retry(error)
    this.#runLater(task, delay)
    if (task.settled) return
    this.#options.ledger.retried(task, error, delay)
  }

  /** Ends this attempt of a stored task. The engine that submitted it stores the retry. */
  #handBack (task: Task, error: Error, delay: number): void {
    task.settle(failed(new StoredRetry(delay, error)))
    this.#options.settled(task)
    this.#options.ledger.retried(task, error, delay)
  }

  /** Returns the ms until the next attempt, undefined if there is none. */
  #nextAttemptIn (task: Task, error: Error): number | undefined {
    const { attempts, options: { retries, retryIf, backoff } } = task
    if (task.abortedBy !== undefined || attempts > retries) return undefined
    const wanted = wantsRetry(retryIf, error, attempts,
      (thrown) => this.#options.ledger.retryIfFailed(task, toError(task.id, thrown)))
    const delay = wanted ? retryDelay(attempts, error, backoff, Math.random()) : undefined
    // `abortedBy` is read again: retryIf is the application's, and may have called cancel(). The delay is at least 1
    // ms, on a timer: attempts that fail at once would otherwise follow one another without a turn of the event loop.
    return delay === undefined || task.abortedBy !== undefined ? undefined : Math.max(delay, 1)
  }

  /** The last attempt has failed. */
  #fail (task: Task, error: Error): void {
    if (task.abortedBy === undefined) {
      return this.#settle(task, error instanceof TaskTimeoutError
        ? expired(error)
        : failed(error))
    }
    addCause(task.abortedBy, error)
    this.#settle(task, aborted(task.abortedBy))
  }

  /** Gives the task its outcome before the outcome is reported: a listener may call the runner. */
  #settle (task: Task, outcome: Outcome): void {
    if (task.entry?.state === 'runnable') this.#queue.remove(task.entry)
    clearTimeout(this.#delayed.get(task)?.timer)
    this.#delayed.delete(task)
    task.settle(outcome)
    this.#options.settled(task)
    this.#options.ledger.ended(task, outcome)
  }

  /** Settles a task whose function ignores its signal. The task isn't tried again: two attempts would run at once. */
  #leak (attempt: Attempt, reason: Error): void {
    const { task } = attempt
    this.#remove(attempt)
    this.leaked.add(task)
    this.#pumpSoon()
    this.#fail(task, reason)
    this.#options.ledger.leaked(task)
  }
}
