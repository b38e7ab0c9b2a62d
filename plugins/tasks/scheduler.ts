/**
 * Which tasks are accepted: a bounded number, one an id, until the service closes. Knows neither Fastify nor the log.
 */
import type { Clock } from '../shared/clock.ts'
import type { Unfinished, Drainable } from '../shared/drainables.ts'
import { ClosingError, PlaceUsedError, TaskDuplicateError, TasksFullError } from '../shared/errors.ts'
import { Ids } from './ids.ts'
import { Room, secondsUntilRoom } from './room.ts'
import type { Observer } from './observer.ts'
import { Runner } from './runner.ts'
import { Task, type Outcome, type Submission, type TaskHandle } from './task.ts'

/** A drain waits for a retry or a delay that is due within this, in ms, and gives up a task that is due later. */
export const DRAIN_PATIENCE = 1_000

export interface SchedulerOptions {
  concurrency: number
  maxQueue: number
  maxWaiting: number
  grace: number
}

/** A place that was taken and must be used or given back. */
export interface Place {
  submit (submission: Submission): TaskHandle
  release (): void
}

export interface TasksStats {
  running: number
  /** For a slot, a delay or a retry. */
  waiting: number
  reserved: number
  /** Callers that wait for room. */
  waitingForRoom: number
  /** Functions that ignore their signal and still run. */
  leaked: number
  /** Since the start, as are the following. */
  completed: number
  failed: number
  retried: number
  aborted: number
}

export class Scheduler implements Drainable {
  readonly name = 'tasks'
  readonly phase = 'tasks'
  readonly #concurrency: number
  readonly #clock: Clock
  readonly #observer: Observer
  readonly #room: Room
  readonly #runner: Runner
  readonly #ids = new Ids()
  /** How many tasks are accepted and have no outcome. */
  #pending = 0
  /** While giving up: what doesn't complete any more. */
  #unfinished: Unfinished[] | undefined
  /** Places that are neither used nor given back, and since when. */
  readonly #reserved = new Map<Place, number>()
  #closing = false
  #closed = false
  #idleWaiters: Array<() => void> = []

  constructor ({ concurrency, maxQueue, maxWaiting, grace }: SchedulerOptions, observer: Observer, clock: Clock, random: () => number = Math.random) {
    this.#concurrency = concurrency
    this.#clock = clock
    this.#observer = observer
    this.#room = new Room(concurrency + maxQueue, maxWaiting)
    this.#runner = new Runner({
      concurrency,
      grace,
      clock,
      random,
      observer,
      ended: (task, outcome, value) => this.#end(task, outcome, value),
      stopped: (task) => this.#free(task),
      mayWait: (task) => !this.#closing || task.dueAt - clock.now() <= DRAIN_PATIENCE
    })
  }

  get pending (): number { return this.#pending }
  get completed (): number { return this.#runner.counts.completed }
  get timers (): number { return this.#runner.timers }

  stats (): TasksStats {
    const { running } = this.#runner
    return {
      running,
      waiting: this.pending - running,
      reserved: this.#room.taken - this.pending,
      waitingForRoom: this.#room.waiting,
      leaked: this.#runner.leaked.size,
      ...this.#runner.counts
    }
  }

  /** Throws FC_ERR_TASKS_FULL, FC_ERR_TASK_DUPLICATE or FC_ERR_CLOSING. */
  submit (submission: Submission): TaskHandle {
    const existing = this.#ids.latest(submission.id)
    if (existing !== undefined) return this.#resubmit(existing, submission, false)
    this.#admit()
    return this.#accept(submission)
  }

  /** Takes a place, now. Throws FC_ERR_TASKS_FULL or FC_ERR_CLOSING. */
  reserve (): Place {
    this.#admit()
    return this.#place()
  }

  /** Takes a place when there is one. Rejects with the signal's reason, FC_ERR_TASKS_FULL or FC_ERR_CLOSING. */
  async reserveWhenFree (signal: AbortSignal): Promise<Place> {
    this.#checkOpen()
    signal.throwIfAborted()
    const entered = this.#room.wait(signal)
    if (entered === undefined) throw this.#full(this.#room.maxWaiting)
    await entered
    if (!this.#closed) return this.#place()
    this.#room.give()
    throw new ClosingError('The service')
  }

  #place (): Place {
    let used = false
    const place: Place = {
      submit: (submission) => {
        if (used) throw new PlaceUsedError()
        this.#checkOpen()
        const existing = this.#ids.latest(submission.id)
        const handle = existing === undefined ? this.#accept(submission) : this.#resubmit(existing, submission, true)
        used = true
        this.#reserved.delete(place)
        return handle
      },
      release: () => {
        if (used) return
        used = true
        this.#reserved.delete(place)
        this.#room.give()
      }
    }
    this.#reserved.set(place, this.#clock.now())
    return place
  }

  // Soft until nothing is left: a draining task may submit what its own finish needs. What bounds that is the deadline.
  #checkOpen (): void {
    if (this.#closed) throw new ClosingError('The service')
  }

  #admit (): void {
    this.#checkOpen()
    if (!this.#room.take()) throw this.#full(this.#room.capacity)
  }

  #full (limit: number): TasksFullError {
    const { busy, queued, meanRunMs } = this.#runner
    const waiting = Math.max(this.#room.taken - busy, 0)
    const soon = queued + this.#reserved.size
    const retryAfter = busy + soon > 0 ? secondsUntilRoom(soon, meanRunMs, this.#concurrency) : this.#secondsUntilDue()
    return new TasksFullError({ running: busy, waiting, limit, retryAfter })
  }

  /** Whole seconds until the first delay or backoff is over: while nothing else holds a place, there is no room before. */
  #secondsUntilDue (): number {
    let earliest = Infinity
    for (const { timer, dueAt } of this.#ids.all()) if (timer !== undefined) earliest = Math.min(earliest, dueAt)
    return earliest === Infinity ? 1 : Math.max(Math.ceil((earliest - this.#clock.now()) / 1_000), 1)
  }

  #shut (): void {
    this.#closed = true
    this.#room.refuseAll(new ClosingError('The service'))
  }

  /** With a place taken. */
  #accept (submission: Submission): TaskHandle {
    const task = this.#task(submission)
    this.#ids.add(task)
    this.#observer.submitted(task)
    this.#runner.park(task, submission.options.delay)
    return task.handle
  }

  #task (submission: Submission): Task {
    this.#pending++
    return new Task(submission, this.#clock.now(), this.#runner)
  }

  #resubmit (existing: Task, submission: Submission, hasPlace: boolean): TaskHandle {
    const { duplicate } = submission.options
    if (duplicate === 'reject') throw new TaskDuplicateError(submission.id)
    // What is joined must still be going to do the work: not a task that is cancelled, nor one that has leaked.
    const isDoomed = existing.cancelled !== undefined || existing.settled
    if (isDoomed || (duplicate === 'replace' && existing.status === 'running')) {
      if (!hasPlace) this.#admit()
      return this.#putBehind(existing, submission)
    }
    if (hasPlace) this.#room.give()
    return duplicate === 'join' ? existing.handle : this.#replaceWaiting(existing, submission)
  }

  #putBehind (existing: Task, submission: Submission): TaskHandle {
    const task = this.#task(submission)
    this.#ids.putBehind(task)
    this.#observer.submitted(task)
    this.#runner.cancel(existing, 'replaced')
    return task.handle
  }

  /** The newcomer takes over the place, and the place in the queue: replaced again and again, it still gets its turn. */
  #replaceWaiting (existing: Task, submission: Submission): TaskHandle {
    this.#checkOpen()
    const { delay } = submission.options
    const task = this.#task(submission)
    existing.hasPlace = false
    const isBehind = this.#ids.takeOver(existing, task)
    this.#observer.submitted(task)
    if (!isBehind && (delay > 0 || task.settled || !this.#runner.replace(existing, task))) this.#runner.park(task, delay)
    this.#runner.cancel(existing, 'replaced')
    return task.handle
  }

  #end (task: Task, outcome: Outcome, value: unknown): void {
    this.#runner.remove(task)
    if (outcome !== 'completed') this.#unfinished?.push(task.describe(this.#clock.now(), this.#runner.leaked.has(task)))
    task.settle(outcome, value)
    this.#pending--
    if (!this.#runner.leaked.has(task)) this.#free(task)
    if (task.hasPlace) this.#room.give()
    if (this.#pending > 0) return
    if (this.#closing) this.#shut()
    for (const resolve of this.#idleWaiters) resolve()
    this.#idleWaiters = []
  }

  /** The function of the task has ended: its id may run again. */
  #free (task: Task): void {
    const successor = this.#ids.remove(task)
    if (successor !== undefined) this.#runner.park(successor, successor.options.delay)
  }

  idle (): Promise<void> {
    return this.pending === 0 ? Promise.resolve() : new Promise((resolve) => { this.#idleWaiters.push(resolve) })
  }

  close (): void {
    this.#closing = true
    if (this.pending === 0) this.#shut()
    const now = this.#clock.now()
    for (const task of [...this.#ids.all()]) {
      if (task.timer !== undefined && task.dueAt - now > DRAIN_PATIENCE) this.#runner.giveUp(task)
    }
  }

  /** Accepted and without an outcome, what leaked, and places that may still be used: a drain doesn't wait for those. */
  held (): Unfinished[] {
    const now = this.#clock.now()
    const tasks = [...this.#ids.all()].map((task) => task.describe(now))
    if (this.#closed) return tasks
    const places = [...this.#reserved.values()].map((since): Unfinished => ({ kind: 'task', name: 'reserved', id: 'reserved place', ageMs: Math.round(now - since), attempt: 0 }))
    return [...tasks, ...places]
  }

  lost (): Unfinished[] {
    const now = this.#clock.now()
    return [...this.#runner.givenUp, ...[...this.#runner.leaked].map((task) => task.describe(now, true))]
  }

  async giveUp (grace: number): Promise<Unfinished[]> {
    this.#closing = true
    this.#unfinished = []
    this.#runner.stopRetrying()
    this.#shut()
    for (const task of [...this.#ids.all()]) this.#runner.cancel(task, 'given up by the shutdown', grace)
    await this.idle()
    return this.#unfinished
  }
}
