/**
 * StoredQueue is the queue of one name in Redis, as a caller sees it who waits for an answer: the caller gets the
 * answer, or is told that Redis doesn't give one.
 *
 * A Redis that is silent for `timeout` ms while it owes an answer is late. Answers come in the order of the commands,
 * so each answer gives the commands behind it as much time again: a hundred thousand commands that were sent at once
 * take a while, of a Redis that works. While Redis owes a late answer, it isn't asked: so a Redis that hangs costs a
 * few callers `timeout` ms, and no list of commands grows.
 *
 * Silence is counted by the ticks of a timer, not by a clock. While our event loop stands still, no command is sent and
 * no answer is read: such a stall is one tick, however long it is.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Queue } from 'bullmq'
import { isRefusal } from '../../shared/coded-error.ts'
import { IdleWaiters } from '../../shared/drainables.ts'
import { TasksFullError, TaskStoreError } from '../../shared/errors.ts'
import { within } from '../../shared/within.ts'
import type { Connections } from './connections.ts'
import type { StoredTask } from './stored.ts'

/** How old a count may be before Redis is asked again, in ms. */
const COUNT_INTERVAL_MS = 250

/**
 * How old a count may be for a refusal, in ms: while tasks are refused, a new count arrives just after every
 * `COUNT_INTERVAL_MS` ms.
 */
const MAX_COUNT_AGE_MS = 2 * COUNT_INTERVAL_MS

/**
 * Bound refuses tasks when a queue in Redis holds too many. It is approximate, so that it costs no round trip while
 * there is room: it adds what this process has enqueued to the latest count of Redis. It never refuses by a count that
 * is older than `MAX_COUNT_AGE_MS`, since tasks may have ended since.
 */
export class Bound {
  readonly #queue: Pick<Queue, 'getJobCounts'>
  readonly #limit: number
  /** Tasks that this process has enqueued since its start. */
  #enqueued = 0
  /**
   * The latest count of Redis, and `#enqueued` when it was asked for. What is enqueued meanwhile may be missing in the
   * count.
   */
  #count = { stored: 0, running: 0, enqueued: 0 }
  #askedAt = -Infinity
  #countedAt = -Infinity
  #counting: Promise<void> | undefined

  constructor (queue: Pick<Queue, 'getJobCounts'>, limit: number) {
    this.#queue = queue
    this.#limit = limit
  }

  get #stored (): number { return this.#count.stored + this.#enqueued - this.#count.enqueued }

  /**
   * Is to be awaited before add(): undefined unless the latest count says that there is no room, and is too old to
   * refuse by it.
   */
  counted (): Promise<void> | undefined {
    const now = performance.now()
    if (now - this.#askedAt >= COUNT_INTERVAL_MS) {
      this.#askedAt = now
      this.#counting = this.#ask()
      this.#counting.catch(() => {})
    }
    return this.#stored >= this.#limit && now - this.#countedAt > MAX_COUNT_AGE_MS ? this.#counting : undefined
  }

  /** Counts one more task. Throws FC_ERR_TASKS_FULL if there are as many as there may be. */
  add (): void {
    if (this.#stored >= this.#limit) {
      throw new TasksFullError({
        running: this.#count.running, waiting: this.#stored, limit: this.#limit, retryAfter: 1
      })
    }
    this.#enqueued++
  }

  async #ask (): Promise<void> {
    const enqueued = this.#enqueued
    const {
      waiting = 0, delayed = 0, active: running = 0
    } = await this.#queue.getJobCounts('waiting', 'delayed', 'active')
    this.#count = { stored: waiting + delayed, running, enqueued }
    this.#countedAt = performance.now()
  }
}

/** The ticks in `timeout` ms. With more of them, a late answer is noticed more exactly and costs more. */
const TICKS = 5

/** A command that Redis has not answered. */
interface Call {
  readonly id: string
  readonly reject: (error: Error) => void
  /** The tick in which Redis was asked. */
  readonly since: number
  isLate: boolean
}

export class StoredQueue {
  readonly jobs: Queue<StoredTask>
  readonly bound: Bound
  readonly #connections: Connections
  readonly #timeout: number
  /** In the order of their commands. */
  readonly #calls = new Set<Call>()
  readonly #answeredAll = new IdleWaiters()
  #tick = 0
  /** How many answers there were. */
  #answers = 0
  /** The tick of the last answer. */
  #answeredAt = 0
  /** How many late calls Redis has not answered yet. */
  #late = 0
  #timer: NodeJS.Timeout | undefined

  /** @param timeout how many ms a caller waits for a Redis that is silent */
  constructor (jobs: Queue<StoredTask>, connections: Connections,
    { timeout, limit }: { timeout: number, limit: number }) {
    this.jobs = jobs
    this.#connections = connections
    this.#timeout = timeout
    this.bound = new Bound(jobs, limit)
  }

  /**
   * Resolves to what Redis answers.
   *
   * @param id the task, for the error
   * @throws FC_ERR_TASK_STORE
   */
  ask<T> (id: string, command: () => Promise<T>): Promise<T> {
    // Written out, since each enqueue() passes here: promises cost more than the rest of it.
    return new Promise((resolve, reject) => {
      const trouble = this.#late > 0
        ? new Error('Redis has not answered an earlier command')
        : this.#connections.trouble
      if (trouble !== undefined) throw new TaskStoreError(id, isReply(trouble) ? 'refused' : 'away', { cause: trouble })
      const call: Call = { id, reject, since: this.#tick, isLate: false }
      const answer = command()
      this.#calls.add(call)
      // One timer, which ends by itself: a timer for each call would cost more.
      this.#timer ??= setInterval(() => this.#onTick(), Math.max(this.#timeout / TICKS, 1)).unref()
      answer.then((value) => {
        this.#answered(call)
        resolve(value)
      }, (cause: unknown) => {
        this.#answered(call)
        reject(isRefusal(cause)
          ? cause as Error
          : new TaskStoreError(id, isReply(cause) ? 'refused' : 'unanswered', { cause }))
      })
    })
  }

  /**
   * Resolves when each caller has an answer or an error.
   *
   * @param patience how many ms to wait for a Redis that is silent
   */
  async settled (patience: number): Promise<void> {
    while (this.#calls.size > 0) {
      const answers = this.#answers
      const hasAll = await within(patience, this.#answeredAll.wait(this.#calls.size))
      if (!hasAll && this.#answers === answers) for (const call of [...this.#calls]) this.#unanswered(call, patience)
      // A caller may have to ask once more.
      await nextTurn()
    }
  }

  #answered (call: Call): void {
    this.#answers++
    this.#answeredAt = this.#tick
    if (call.isLate) this.#late--
    this.#forget(call)
  }

  #forget (call: Call): void {
    this.#calls.delete(call)
    if (this.#calls.size === 0) this.#answeredAll.wake()
  }

  #onTick (): void {
    this.#tick++
    if (this.#calls.size === 0) {
      clearInterval(this.#timer)
      this.#timer = undefined
    }
    for (const call of this.#calls) {
      if (this.#tick - Math.max(call.since, this.#answeredAt) < TICKS) return
      this.#unanswered(call, this.#timeout)
    }
  }

  #unanswered (call: Call, silence: number): void {
    call.isLate = true
    this.#late++
    this.#forget(call)
    call.reject(new TaskStoreError(call.id, 'unanswered',
      { cause: new Error(`Redis has been silent for ${silence} ms`) }))
  }
}

/** Tells whether Redis has refused the command: then nothing was stored. Out of memory, say, or read-only. */
function isReply (error: unknown): boolean {
  return error instanceof Error && error.name === 'ReplyError'
}
