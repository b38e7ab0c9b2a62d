/**
 * Scheduler accepts tasks and keeps them until they end: a bounded number, shared fairly between keys, one for each id,
 * until the service closes. It knows neither Fastify nor the log.
 */
import type { FastifyBaseLogger } from 'fastify'
import { IdleWaiters, type Drainable, type Unfinished } from '../shared/drainables.ts'
import { ClosingError, PlaceUsedError, TaskDuplicateError, TasksFullError } from '../shared/errors.ts'
import { Capacity, type CapacityOptions, type Permit } from './running/capacity.ts'
import { Runner } from './running/runner.ts'
import type { DuplicatePolicy } from './task-options.ts'
import { Task, type Submission, type TaskHandle } from './task.ts'
import type { TaskLedger } from './ledger.ts'

/** How far ahead a drain waits for a delay or a retry, in ms. A task that is due later is given up. */
export const LONGEST_DELAY_IN_DRAIN = 1_000

export interface SchedulerOptions extends CapacityOptions {
  /** How long a function may ignore its signal before it counts as leaked, in ms. */
  grace: number
}

export interface SchedulerDeps {
  ledger: TaskLedger
  /** The parent of each task's logger. */
  log: FastifyBaseLogger
}

/** Place is the right to submit one task, which is never refused for lack of capacity. */
export interface Place {
  submit (submission: Submission): TaskHandle
  /** Gives the place back, unless it is used. Idempotent. */
  release (): void
}

/** The tasks of an application in this process. */
export interface TasksStats {
  /** Tasks whose function runs now. */
  running: number
  /** Tasks that wait for a slot, a delay or a retry. */
  waiting: number
  /** Places that are reserved and not used yet. */
  reserved: number
  /** Functions that ignore their signal and still run. */
  leaked: number
  /** Tasks since the start. So are the following counts. */
  completed: number
  /** Tasks that failed for the last time. */
  failed: number
  /** Attempts that failed and were followed by another. */
  retried: number
  /** Tasks that were cancelled, or given up by a shutdown. */
  aborted: number
}

export class Scheduler implements Drainable {
  readonly name = 'tasks'
  readonly phase = 'tasks'
  readonly #ledger: TaskLedger
  readonly #capacity: Capacity
  readonly #runner: Runner
  /**
   * The ids that are taken: an id is free only when the function of its task has really ended, so that it never runs
   * twice at once.
   */
  readonly #tasks = new Map<string, Task>()
  /** Places that are neither used nor given back, with the time when each was taken. */
  readonly #reserved = new Map<Place, number>()
  /** The tasks that end without success while the shutdown gives up; undefined before that. */
  #unfinished: Unfinished[] | undefined
  #isClosing = false
  #isClosed = false
  #idle: IdleWaiters | undefined

  constructor (options: SchedulerOptions, deps: SchedulerDeps) {
    this.#ledger = deps.ledger
    this.#capacity = new Capacity(options)
    this.#runner = new Runner({
      ...options,
      ...deps,
      settled: (task) => this.#settled(task),
      stopped: ({ id }) => { this.#tasks.delete(id) }
    })
  }

  /** How many tasks are accepted and have no outcome. */
  get pending (): number { return this.#tasks.size - this.#runner.leaked.size }
  get completed (): number { return this.#ledger.totals().completed }
  get timers (): number { return this.#runner.timers }

  stats (): TasksStats {
    const { running, leaked } = this.#runner
    return {
      running,
      waiting: this.pending - running,
      reserved: this.#reserved.size,
      leaked: leaked.size,
      ...this.#ledger.totals()
    }
  }

  /** Throws FC_ERR_TASKS_FULL, FC_ERR_TASK_DUPLICATE or FC_ERR_CLOSING. */
  submit (submission: Submission): TaskHandle {
    return this.#existing(submission.id, submission.options.duplicate) ??
      this.#accept(submission, this.#permit(submission.key))
  }

  /**
   * Runs an attempt of a task that an engine has stored, at once if a slot is free; the engine bounds how many it runs.
   * A task may be delivered again while it runs, if its lock could not be renewed in time: then both deliveries have
   * the one run.
   *
   * @throws FC_ERR_TASK_DUPLICATE if an earlier run is being aborted or has leaked, FC_ERR_CLOSING
   */
  attempt (submission: Submission): Promise<unknown> {
    const existing = this.#existing(submission.id, 'join')
    if (existing !== undefined) return existing.done
    this.#checkOpen()
    const task = this.#keep(submission)
    this.#runner.runNow(task)
    return task.done
  }

  /** Throws FC_ERR_TASKS_FULL or FC_ERR_CLOSING. */
  reserve (key: string): Place {
    return this.#place(this.#permit(key))
  }

  #place (permit: Permit): Place {
    let isOver = false
    const place: Place = {
      submit: (submission) => {
        if (isOver) throw new PlaceUsedError()
        this.#checkOpen()
        const existing = this.#existing(submission.id, submission.options.duplicate)
        if (existing === undefined) {
          isOver = true
          this.#reserved.delete(place)
          return this.#accept(submission, permit)
        }
        place.release()
        return existing
      },
      release: () => {
        if (isOver) return
        isOver = true
        this.#reserved.delete(place)
        permit[Symbol.dispose]()
      }
    }
    this.#reserved.set(place, performance.now())
    return place
  }

  /**
   * Returns the handle of the task that has the id and may be joined, undefined if the id is free. Throws
   * FC_ERR_TASK_DUPLICATE.
   */
  #existing (id: string, duplicate: DuplicatePolicy): TaskHandle | undefined {
    const task = this.#tasks.get(id)
    if (task === undefined) return undefined
    // A task that is joined must still be going to do the work: not one that is aborted, nor one that has leaked.
    if (duplicate === 'reject' || task.abortedBy !== undefined || task.settled) throw new TaskDuplicateError(id)
    return task.handle
  }

  #permit (key: string): Permit {
    this.#checkOpen()
    const permit = this.#capacity.take(key)
    if (permit !== undefined) return permit
    const { running } = this.#runner
    const { held, total } = this.#capacity
    const ofKey = this.#capacity.shareOf(key)
    throw new TasksFullError({
      running,
      waiting: held - running,
      limit: total,
      ...(held < total && { ofKey }),
      retryAfter: this.#runner.secondsUntilFree(this.#reserved.size)
    })
  }

  // A drain refuses nothing until no task is left: a draining task may submit tasks that its own end needs. The
  // deadline bounds that.
  #checkOpen (): void {
    if (this.#isClosed) throw new ClosingError('The service')
  }

  #accept (submission: Submission, permit: Permit): TaskHandle {
    const task = this.#keep(submission, permit)
    this.#ledger.submitted(task)
    this.#runner.run(task, submission.options.delay)
    return task.handle
  }

  #keep (submission: Submission, permit?: Permit): Task {
    const task = new Task(submission, permit, performance.now(), this.#runner)
    this.#tasks.set(task.id, task)
    return task
  }

  #settled (task: Task): void {
    const hasLeaked = this.#runner.leaked.has(task)
    if (task.status !== 'completed') this.#unfinished?.push(task.describe(performance.now()))
    if (!hasLeaked) this.#tasks.delete(task.id)
    if (this.pending > 0) return
    this.#isClosed ||= this.#isClosing
    this.#idle?.wake()
  }

  /** Aborts the task with this id. Tells whether one waits or runs. */
  cancel (id: string, why: string): boolean {
    const task = this.#tasks.get(id)
    if (task === undefined || task.settled) return false
    this.#runner.abort(task, why)
    return true
  }

  idle (): Promise<void> {
    return (this.#idle ??= new IdleWaiters()).wait(this.pending)
  }

  close (): void {
    this.#isClosing = true
    this.#isClosed ||= this.pending === 0
    this.#runner.drain(LONGEST_DELAY_IN_DRAIN)
  }

  /**
   * Returns the tasks without an outcome, the leaked ones, and the places that may still be used. A drain doesn't wait
   * for places.
   */
  held (): Unfinished[] {
    const now = performance.now()
    const tasks = [...this.#tasks.values()].map((task) => task.describe(now))
    if (this.#isClosed) return tasks
    const places = [...this.#reserved.values()].map((since): Unfinished =>
      ({ kind: 'task', name: 'reserved', id: 'reserved place', ageMs: Math.round(now - since), attempt: 0 }))
    return [...tasks, ...places]
  }

  lost (): Unfinished[] {
    const now = performance.now()
    return [...this.#runner.givenUp, ...[...this.#runner.leaked].map((task) => task.describe(now))]
  }

  async giveUp (grace: number): Promise<Unfinished[]> {
    this.#isClosing = this.#isClosed = true
    const unfinished: Unfinished[] = this.#unfinished = []
    for (const task of [...this.#tasks.values()]) this.#runner.abort(task, 'the shutdown gave it up', grace)
    await this.idle()
    return unfinished
  }
}
