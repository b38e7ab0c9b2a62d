/**
 * Creates `app.tasks`: checks the arguments of its calls, publishes refusals, and hands out promises that may be
 * dropped.
 */
import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { endSignalOf } from '../cancellation/request-end.ts'
import { currentRequest } from '../cancellation/index.ts'
import { addressKey, addressReader } from '../shared/address-key.ts'
import { TasksNotStoredError } from '../shared/errors.ts'
import * as check from '../shared/options.ts'
import { notForgotten } from './forgotten.ts'
import type { TaskLedger } from './ledger.ts'
import type { Group } from './group/group.ts'
import type { Groups } from './group/groups.ts'
import { enclosingSignal } from './group/signals.ts'
import type { EnqueueArgs, PayloadOf, RegisteredTasks, ResultOf, TaskName } from './named/define.ts'
import type { Engine, NamedTask, QueueStats } from './named/engine.ts'
import type { NamedTasks } from './named/named.ts'
import type { Schedule } from './named/operations.ts'
import type { ResolvedTasksOptions } from './options.ts'
import { createOperating, type Operating } from './operating.ts'
import type { Scheduler, TasksStats } from './scheduler.ts'
import {
  checkId, checkKey, checkStoredId, resolveSubmitOptions, type SubmitOptions, type TaskOptions
} from './task-options.ts'
import {
  currentAttempt, currentReqId, nameOf, type Submission, type TaskFunction, type TaskHandle
} from './task.ts'
import { Watched } from './watched.ts'

/** Options of `tasks.reserve()`. */
export interface ReserveOptions {
  /**
   * The client or tenant whose task this will be, as `key` of submit().
   * @default the address of the client in a request, otherwise one key for all reservations
   */
  key?: string
}

export interface EnqueueOptions extends SubmitOptions {
  /**
   * Of one name, at most one task with this id waits or runs at a time; see `duplicate`. 1 to 256 characters, without
   * lone surrogates.
   * @default a UUID
   */
  id?: string
}

/** Options of `tasks.schedule()`. */
export interface ScheduleOptions {
  /**
   * Distinguishes the schedules of one task.
   * @default 'default'
   */
  id?: string
}

/** Options of `tasks.group()`. */
export interface GroupOptions {
  /**
   * How many functions run at once.
   * @default the plugin's `concurrency`
   */
  limit?: number
  /** Aborts the group. */
  signal?: AbortSignal
  /**
   * Lets the group outlive its request or task. Otherwise the group is aborted when the client leaves, when the request
   * has been answered, or in a task with the task's signal. A shutdown waits for the group all the same.
   * @default false
   */
  detached?: boolean
}

/**
 * ReservedPlace is a place for one task. It is given back when it goes out of a `using` scope unused, or when the
 * request in which it was made has been answered.
 */
export interface ReservedPlace extends Disposable {
  /**
   * Runs `fn` in the background; never refused for want of a place. @throws FC_ERR_PLACE_USED, FC_ERR_TASK_DUPLICATE,
   * FC_ERR_CLOSING
   */
  submit<T> (id: string, fn: TaskFunction<T>, options?: Omit<SubmitOptions, 'key'>): TaskHandle<T>
  /** Gives the place back if it is unused. Idempotent. */
  release (): void
}

/** Background tasks, `app.tasks`: work that goes on after the response. */
export interface Tasks extends Operating {
  /**
   * Runs `fn` in the background, after the current code has run. Use enqueue() for work that is to survive this process
   * one day, and a job of the workers for work that needs the CPU.
   *
   * @param id 1 to 256 characters; the part before the first colon is the task's name in logs and metrics
   * @throws FC_ERR_TASKS_FULL (503, Retry-After) if there is no place for the key; FC_ERR_TASK_DUPLICATE (409);
   * FC_ERR_CLOSING (503)
   */
  submit<T> (id: string, fn: TaskFunction<T>, options?: SubmitOptions): TaskHandle<T>
  /**
   * Takes a place now. Use reserve() before a step that can't be undone (a row is written, a card is charged) and whose
   * task must not be refused afterwards. Otherwise use submit().
   * @throws FC_ERR_TASKS_FULL, FC_ERR_CLOSING
   */
  reserve (options?: ReserveOptions): ReservedPlace
  /**
   * Runs the task of this name, which defineTasks() has defined. The payload must survive JSON as it is, and match the
   * task's schema if it has one. Rejects with FC_ERR_TASK_UNKNOWN, FC_ERR_TASK_PAYLOAD, and as submit() does.
   */
  enqueue<Name extends TaskName> (name: Name, ...args: EnqueueArgs<PayloadOf<RegisteredTasks[Name]>,
    EnqueueOptions>): Promise<TaskHandle<ResultOf<RegisteredTasks[Name]>>>
  /**
   * Cancels the task with this id: a named task in whatever process it waits or runs, or a task that was submitted in
   * this one. A task that waits is removed. The signal of a task that runs aborts, within about a second if the process
   * is another; a task that succeeds after all has succeeded. Resolves to whether a task with this id was waiting or
   * running. Rejects with FC_ERR_TASK_STORE.
   *
   * @param id the `id` of the handle: for a named task its name, a colon, and the id given to enqueue()
   */
  cancel (id: string): Promise<boolean>
  /**
   * Runs the task of this name again and again, in one of the processes that consume it. Each process may call
   * schedule() at boot, since a schedule of the same name and id is replaced. Use unschedule() to end it: a schedule
   * outlives the code that made it. Rejects with FC_ERR_TASKS_NOT_STORED without `redis`, and as enqueue() does.
   */
  schedule<Name extends TaskName> (name: Name, schedule: Schedule,
    ...args: EnqueueArgs<PayloadOf<RegisteredTasks[Name]>, ScheduleOptions>): Promise<void>
  /** Ends a schedule. A run that has begun goes on. Resolves to whether there was such a schedule. */
  unschedule (name: TaskName, options?: ScheduleOptions): Promise<boolean>
  /**
   * Resolves to what is stored of each named task, counted over all processes; to an empty array if tasks are not
   * stored. Rejects with FC_ERR_TASK_STORE.
   */
  queues (): Promise<QueueStats[]>
  /**
   * Returns a group, which runs functions in parallel inside one request or task. The first error aborts the rest, as
   * in Go's errgroup.
   */
  group<T = unknown> (options?: GroupOptions): Group<T>
  /**
   * Resolves when no task runs or waits in this process. A task that waits for its delay or its retry counts, unless it
   * is stored.
   */
  idle (): Promise<void>
  /** Returns how many tasks run and wait, and what has become of the others. */
  stats (): TasksStats
}

export interface TasksDeps {
  app: FastifyInstance
  scheduler: Scheduler
  groups: Groups
  engine: Engine
  named: NamedTasks
  options: ResolvedTasksOptions
  ledger: TaskLedger
}

export function createTasks ({ app, scheduler, groups, engine, named, options, ledger }: TasksDeps): Tasks {
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
      ledger.refused(id, error)
      throw error
    }
  }

  async function enqueue (name: string, payload: unknown, given: EnqueueOptions | undefined,
    reqId: string | undefined): Promise<TaskHandle> {
    const taskOptions = resolveSubmitOptions('tasks.enqueue', given, named.defaults(name), ['id'])
    const isIdChosen = given?.id !== undefined
    // A sequence wouldn't do: callers choose ids too, and a durable engine holds the ids of other processes and of
    // earlier runs.
    const ownId = isIdChosen ? checkStoredId(given.id) : randomUUID()
    const id = `${name}:${ownId}`
    const accepted = named.accept(name, payload)
    const task: NamedTask = {
      name,
      isIdChosen,
      ownId,
      id,
      key: taskOptions.key ?? defaultKey(name),
      options: taskOptions,
      reqId,
      payload: accepted instanceof Promise ? await accepted : accepted,
      carrier: ledger.carrierFor(id)
    }
    try {
      return await engine.enqueue(task)
    } catch (error) {
      ledger.refused(id, error)
      throw error
    }
  }

  const tasks: Omit<Tasks, 'submit' | 'enqueue' | 'schedule'> & Record<'submit' | 'enqueue' | 'schedule',
    (...args: never[]) => unknown> = {
      submit (id: string, fn: TaskFunction<unknown>, given?: SubmitOptions) {
        const task = submission(id, fn, resolveSubmitOptions('tasks.submit', given, options.defaults))
        return refusing(id, () => scheduler.submit(task))
      },

      reserve (given = {}) {
        check.record('tasks.reserve', given, ['key'])
        const key = given.key === undefined ? defaultKey('reserved') : checkKey('tasks.reserve.key', given.key)
        const place = notForgotten(refusing('reserved', () => scheduler.reserve(key)))
        const submit = <T>(id: string, fn: TaskFunction<T>, given?: Omit<SubmitOptions, 'key'>): TaskHandle<T> =>
          refusing(id, () => {
            check.ensure(given === undefined || !('key' in given), 'tasks.submit.key', 'the key to be given to reserve()',
              given)
            const taskOptions = resolveSubmitOptions('tasks.submit', given, options.defaults)
            return place.submit(submission(id, fn, { ...taskOptions, key })) as TaskHandle<T>
          })
        return { submit, release: () => place.release(), [Symbol.dispose]: () => place.release() }
      },

      enqueue (name: string, payload: unknown, given?: EnqueueOptions) {
        const reqId = currentReqId()
        return Watched.of(enqueue(name, payload, given, reqId),
          (error) => ledger.enqueueUnseen(typeof name === 'string' ? name : typeof name, reqId, error))
      },

      async cancel (id) {
        check.text('tasks.id', id)
        return scheduler.cancel(id, 'cancel() was called') || (await engine.cancel?.(id) ?? false)
      },

      async schedule (name: string, schedule: Schedule, payload: unknown, given?: ScheduleOptions) {
        const taskOptions = named.defaults(name)
        const task = {
          name,
          id: scheduleId(given),
          schedule: checkSchedule(schedule),
          options: taskOptions,
          payload: await named.accept(name, payload)
        }
        if (engine.schedule === undefined) throw new TasksNotStoredError('schedule()')
        await engine.schedule(task)
      },

      async unschedule (name, given) {
        named.defaults(name)
        const id = scheduleId(given)
        if (engine.unschedule === undefined) throw new TasksNotStoredError('unschedule()')
        return await engine.unschedule(name, id)
      },

      queues: async () => await engine.queues?.() ?? [],

      ...createOperating(engine, named),

      group<T> (given: GroupOptions = {}) {
        check.record('tasks.group', given, ['limit', 'signal', 'detached'])
        const limit = given.limit === Infinity
          ? Infinity
          : check.integer('tasks.group.limit', given.limit ?? options.concurrency, { min: 1 })
        const detached = check.boolean('tasks.group.detached', given.detached ?? false)
        const [request, attempt] = [currentRequest(), currentAttempt()]
        const own = given.signal === undefined ? undefined : check.abortSignal('tasks.group.signal', given.signal)
        const parents = detached ? [own] : [own, enclosingSignal(), request && endSignalOf(request), attempt?.signal]
        return groups.create<T>(limit, parents.filter((signal) => signal !== undefined), { request, attempt })
      },

      idle: async () => {
        await Promise.all([scheduler.idle(), engine.drainable?.idle()])
      },

      stats () {
        const [own, stored] = [scheduler.stats(), engine.stats?.()]
        for (const key of Object.keys(own) as Array<keyof TasksStats>) own[key] += stored?.[key] ?? 0
        return own
      }
    }
  return tasks as Tasks
}

function scheduleId (given: ScheduleOptions = {}): string {
  check.record('tasks.schedule', given, ['id'])
  const id = checkStoredId(given.id ?? 'default')
  check.ensure(!id.includes(':'), 'tasks.schedule.id', 'a text without a colon', id)
  return id
}

function checkSchedule (schedule: Schedule): Schedule {
  check.record('tasks.schedule', schedule)
  check.record('tasks.schedule', schedule, 'every' in schedule ? ['every'] : ['cron', 'timezone'])
  if ('every' in schedule) {
    check.duration('tasks.schedule.every', schedule.every,
      { min: 1_000, max: check.MAX_DURATION })
  } else check.text('tasks.schedule.cron', schedule.cron)
  if ('timezone' in schedule && schedule.timezone !== undefined) {
    check.text('tasks.schedule.timezone',
      schedule.timezone)
  }
  return schedule
}
