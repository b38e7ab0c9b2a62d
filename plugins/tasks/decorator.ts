/** Creates `app.tasks`: checks the arguments of its calls, publishes refusals, and hands out promises that may be dropped. */
import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { endOf } from '../cancellation/disconnected.ts'
import { currentRequest } from '../cancellation/index.ts'
import { addressKey, addressReader } from '../shared/address-key.ts'
import * as check from '../shared/options.ts'
import { notForgotten } from './forgotten.ts'
import type { Group } from './group/group.ts'
import type { Groups } from './group/groups.ts'
import type { EnqueueArgs, PayloadOf, RegisteredTasks, ResultOf, TaskName } from './named/define.ts'
import type { Engine } from './named/engine.ts'
import type { NamedTasks } from './named/named.ts'
import type { ResolvedTasksOptions } from './options.ts'
import { currentAttempt } from './running/attempt.ts'
import type { Scheduler, TasksStats } from './scheduler.ts'
import { checkId, checkKey, resolveSubmitOptions, type SubmitOptions, type TaskOptions } from './task-options.ts'
import { nameOf, type Submission, type TaskFunction, type TaskHandle } from './task.ts'
import type { Telemetry } from './telemetry.ts'
import { Watched } from './watched.ts'

export interface ReserveOptions {
  /**
   * The client or tenant whose task this will be, as `key` of submit().
   * @default the address of the client in a request, otherwise one key for all reservations
   */
  key?: string
}

export interface EnqueueOptions extends SubmitOptions {
  /**
   * Of one name, at most one task with this id waits or runs at a time; see `duplicate`.
   * @default a UUID
   */
  id?: string
}

export interface GroupOptions {
  /**
   * How many functions run at once.
   * @default the plugin's `concurrency`
   */
  limit?: number
  /** Aborts the group. */
  signal?: AbortSignal
  /**
   * Lets the group outlive its request or task. Otherwise the group is aborted when the client leaves, when the request has been answered, or
   * in a task with the task's signal. A shutdown waits for the group all the same.
   * @default false
   */
  detached?: boolean
}

/**
 * ReservedPlace is a place for one task. It is given back when it goes out of a `using` scope unused, or when the request in which it was made has
 * been answered.
 */
export interface ReservedPlace extends Disposable {
  /** Runs `fn` in the background; never refused for want of a place. @throws FC_ERR_PLACE_USED, FC_ERR_TASK_DUPLICATE, FC_ERR_CLOSING */
  submit<T> (id: string, fn: TaskFunction<T>, options?: Omit<SubmitOptions, 'key'>): TaskHandle<T>
  /** Gives the place back if it is unused. Idempotent. */
  release (): void
}

export interface Tasks {
  /**
   * Runs `fn` in the background, after the current code has run. Use enqueue() for work that is to survive this process one day, and a job
   * of the workers for work that needs the CPU.
   *
   * @param id 1 to 256 characters; the part before the first colon is the task's name in logs and metrics
   * @throws FC_ERR_TASKS_FULL (503, Retry-After) if there is no place for the key; FC_ERR_TASK_DUPLICATE (409); FC_ERR_CLOSING (503)
   */
  submit<T> (id: string, fn: TaskFunction<T>, options?: SubmitOptions): TaskHandle<T>
  /**
   * Takes a place now. Use reserve() before a step that can't be undone (a row is written, a card is charged) and whose task must not be
   * refused afterwards. Otherwise use submit().
   * @throws FC_ERR_TASKS_FULL, FC_ERR_CLOSING
   */
  reserve (options?: ReserveOptions): ReservedPlace
  /**
   * Runs the task of this name, which defineTasks() has defined. The payload must survive JSON as it is, and match the task's schema if
   * it has one. Rejects with FC_ERR_TASK_UNKNOWN, FC_ERR_TASK_PAYLOAD, and as submit() does.
   */
  enqueue<Name extends TaskName> (name: Name, ...args: EnqueueArgs<PayloadOf<RegisteredTasks[Name]>, EnqueueOptions>): Promise<TaskHandle<ResultOf<RegisteredTasks[Name]>>>
  /** Returns a group, which runs functions in parallel inside one request or task. The first error aborts the rest, as in Go's errgroup. */
  group<T = unknown> (options?: GroupOptions): Group<T>
  /** Resolves when no task runs or waits. A task that waits for its delay or its retry counts. */
  idle (): Promise<void>
  stats (): TasksStats
}

export interface TasksDeps {
  app: FastifyInstance
  scheduler: Scheduler
  groups: Groups
  engine: Engine
  named: NamedTasks
  options: ResolvedTasksOptions
  telemetry: Telemetry
}

export function createTasks ({ app, scheduler, groups, engine, named, options, telemetry }: TasksDeps): Tasks {
  const addressOf = addressReader(app)

  /** Returns the address of the request's client, otherwise `fallback`. */
  function defaultKey (fallback: string): string {
    const request = currentRequest()
    return request === undefined ? fallback : addressKey(addressOf(request))
  }

  function submission (id: string, fn: TaskFunction<unknown>, taskOptions: TaskOptions): Submission {
    return {
      id: checkId(id),
      key: taskOptions.key ?? defaultKey(nameOf(id)),
      fn: check.fn('tasks.fn', fn),
      options: taskOptions,
      reqId: currentReqId()
    }
  }

  /** Publishes what `accept` throws. */
  function refusing<T> (id: string, accept: () => T): T {
    try {
      return accept()
    } catch (error) {
      telemetry.refused(id, error)
      throw error
    }
  }

  async function enqueue (name: string, payload: unknown, given: EnqueueOptions | undefined): Promise<TaskHandle> {
    const taskOptions = resolveSubmitOptions('tasks.enqueue', given, named.defaults(name), ['id'])
    const task = {
      name,
      // A sequence wouldn't do: callers choose ids too, and a durable engine holds the ids of other processes and of earlier runs.
      id: `${name}:${given?.id === undefined ? randomUUID() : checkId(given.id)}`,
      key: taskOptions.key ?? defaultKey(name),
      options: taskOptions,
      reqId: currentReqId(),
      payload: await named.accept(name, payload)
    }
    try {
      return await engine.enqueue({ ...task, carrier: telemetry.carrierFor(task.id) })
    } catch (error) {
      telemetry.refused(task.id, error)
      throw error
    }
  }

  const tasks: Omit<Tasks, 'submit' | 'enqueue'> & Record<'submit' | 'enqueue', (...args: never[]) => unknown> = {
    submit (id: string, fn: TaskFunction<unknown>, given?: SubmitOptions) {
      const task = submission(id, fn, resolveSubmitOptions('tasks.submit', given, options.defaults))
      return refusing(id, () => scheduler.submit(task))
    },

    reserve (given = {}) {
      check.record('tasks.reserve', given, ['key'])
      const key = given.key === undefined ? defaultKey('reserved') : checkKey('tasks.reserve.key', given.key)
      const place = notForgotten(refusing('reserved', () => scheduler.reserve(key)))
      const submit = <T>(id: string, fn: TaskFunction<T>, given?: Omit<SubmitOptions, 'key'>): TaskHandle<T> => refusing(id, () => {
        check.ensure(given === undefined || !('key' in given), 'tasks.submit.key', 'the key to be given to reserve()', given)
        const taskOptions = resolveSubmitOptions('tasks.submit', given, options.defaults)
        return place.submit(submission(id, fn, { ...taskOptions, key })) as TaskHandle<T>
      })
      return { submit, release: () => place.release(), [Symbol.dispose]: () => place.release() }
    },

    enqueue (name: string, payload: unknown, given?: EnqueueOptions) {
      const reqId = currentReqId()
      return Watched.of(enqueue(name, payload, given), (error) => telemetry.enqueueUnseen(typeof name === 'string' ? name : typeof name, reqId, error))
    },

    group<T> (given: GroupOptions = {}) {
      check.record('tasks.group', given, ['limit', 'signal', 'detached'])
      const limit = given.limit === Infinity ? Infinity : check.integer('tasks.group.limit', given.limit ?? options.concurrency, { min: 1 })
      const detached = check.boolean('tasks.group.detached', given.detached ?? false)
      const [request, attempt] = [currentRequest(), currentAttempt()]
      const own = given.signal === undefined ? undefined : checkSignal('tasks.group.signal', given.signal)
      const parents = detached ? [own] : [own, request?.disconnected, request && endOf(request), attempt?.signal]
      return groups.create<T>(limit, parents.filter((signal) => signal !== undefined), { request, attempt })
    },

    idle: async () => {
      await Promise.all([scheduler.idle(), engine.drainable?.idle()])
    },

    stats: () => scheduler.stats()
  }
  return tasks as Tasks
}

/** Returns the id of the current request, in a task that of the request which the task comes from. */
function currentReqId (): string | undefined {
  return currentRequest()?.id ?? currentAttempt()?.task.reqId
}

function checkSignal (option: string, signal: unknown): AbortSignal {
  check.ensure(signal instanceof AbortSignal, option, 'an AbortSignal', signal)
  return signal
}
