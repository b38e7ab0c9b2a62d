/** `app.tasks`: what callers see, arguments checked. */
import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { monotonic } from '../shared/clock.ts'
import { isRefusal, TasksFullError } from '../shared/errors.ts'
import * as check from '../shared/options.ts'
import { countRefusal } from '../shared/refusal-log.ts'
import { CallSites } from './group/call-sites.ts'
import { taskRefused } from './channels.ts'
import type { EnqueueArgs, PayloadOf, RegisteredTasks, ResultOf, TaskName } from './named/define.ts'
import type { DroppedGroups } from './group/dropped.ts'
import type { Engine } from './named/engine.ts'
import { Group } from './group/group.ts'
import type { NamedTasks } from './named/named.ts'
import { currentTask } from './observe.ts'
import { checkId, resolveSubmitOptions, type ResolvedTasksOptions, type SubmitOptions } from './options.ts'
import type { Place, Scheduler, TasksStats } from './scheduler.ts'
import { say } from './say.ts'
import { nameOf, type Submission, type TaskFunction, type TaskHandle } from './task.ts'
import { toError } from './thrown.ts'
import { Watched } from './watched.ts'

export interface WaitOptions {
  /** If there is no room, waits for it until this aborts, instead of refusing. */
  wait: AbortSignal
}

export interface EnqueueOptions extends SubmitOptions {
  /**
   * One task of this name and id at a time; see `duplicate`.
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
   * The client's leaving, or in a task the task's signal, aborts the group too, unless this is true.
   * @default false
   */
  detached?: boolean
}

/** A place for one task. Given back when it goes out of a `using` scope unused. */
export interface Reservation extends Disposable {
  /** Never refused for want of room. @throws FC_ERR_PLACE_USED, FC_ERR_TASK_DUPLICATE, FC_ERR_CLOSING */
  submit<T> (id: string, fn: TaskFunction<T>, options?: SubmitOptions): TaskHandle<T>
  /** Gives the place back, unless it is used. Idempotent. */
  release (): void
}

export interface Tasks {
  /**
   * Runs `fn` in the background. `id` is 1 to 256 characters; the part before the first colon is the task's name in logs and metrics.
   * @throws FC_ERR_TASKS_FULL, FC_ERR_TASK_DUPLICATE, FC_ERR_CLOSING
   */
  submit<T> (id: string, fn: TaskFunction<T>, options?: SubmitOptions & { wait?: never }): TaskHandle<T>
  /** Waits for room. Rejects with the signal's reason, FC_ERR_TASKS_FULL if too many wait, FC_ERR_CLOSING when the service gives up. */
  submit<T> (id: string, fn: TaskFunction<T>, options: SubmitOptions & WaitOptions): Promise<TaskHandle<T>>
  /** Takes a place before something is done that can't be taken back. @throws FC_ERR_TASKS_FULL, FC_ERR_CLOSING */
  reserve (): Reservation
  reserve (options: WaitOptions): Promise<Reservation>
  /**
   * Runs the named task. The payload must survive JSON as it is, and match the task's schema if it has one.
   * Rejects with FC_ERR_TASK_UNKNOWN, FC_ERR_TASK_PAYLOAD, and as submit() does.
   */
  enqueue<Name extends TaskName> (name: Name, ...args: EnqueueArgs<PayloadOf<RegisteredTasks[Name]>, EnqueueOptions>): Promise<TaskHandle<ResultOf<RegisteredTasks[Name]>>>
  /** Parallel work inside one request or task: errgroup. */
  group<T = unknown> (options?: GroupOptions): Group<T>
  /** Resolves when no task runs or waits, for its delay or a retry included. */
  idle (): Promise<void>
  stats (): TasksStats
}

type Above = (...args: never[]) => unknown

export interface TasksDeps {
  app: FastifyInstance
  scheduler: Scheduler
  engine: Engine
  named: NamedTasks
  options: ResolvedTasksOptions
  dropped: DroppedGroups
  currentRequest: () => FastifyRequest | undefined
}

export function createTasks ({ app, scheduler, engine, named, options, dropped, currentRequest }: TasksDeps): Tasks {
  const sites = new CallSites(options.stacks, monotonic.now)

  function submission (id: unknown, fn: unknown, given: SubmitOptions | undefined, above: Above, further?: readonly string[]): Submission {
    return {
      id: checkId(id),
      fn: check.fn('tasks.fn', fn),
      options: resolveSubmitOptions('tasks.submit', given, options.defaults, further),
      reqId: currentRequest()?.id,
      submittedAt: sites.capture(above)
    }
  }

  /** Publishes what `accept` throws. */
  function refusing<T> (id: string, accept: () => T): T {
    try {
      return accept()
    } catch (error) {
      refused(id, error)
      throw error
    }
  }

  /** Publishes what `accepted` rejects with. */
  async function refusingLater<T> (id: string, accepted: Promise<T>): Promise<T> {
    try {
      return await accepted
    } catch (error) {
      refused(id, error)
      throw error
    }
  }

  function refused (id: string, error: unknown): void {
    if (taskRefused.hasSubscribers) taskRefused.publish({ server: app.server, name: nameOf(id), id, error: toError(id, error) })
  }

  /** Hands out the promise of a call. An error that the caller doesn't ask for is logged, and doesn't end the process. */
  function promised<T> (call: string, id: string, work: Promise<T>, signal?: AbortSignal): Promise<T> {
    let asked = false
    return Watched.of(work, () => { asked = true }, (error) => {
      // After a turn of the event loop: the caller may return the promise, or await it next.
      setImmediate(() => { if (!asked) reportLost(call, id, error, signal) })
    })
  }

  function reportLost (call: string, id: string, err: unknown, signal: AbortSignal | undefined): void {
    const isExpected = isRefusal(err) || (signal?.aborted === true && err === signal.reason)
    // Load must not flood the log: refusals are counted into its sampled line.
    if (isRefusal(err)) countRefusal(app, (err as { code: string }).code)
    say(app.log, isExpected ? 'debug' : 'error', { task: id, err }, `${call} has failed, and nobody awaits its promise: the task was not accepted`)
  }

  async function submitWhenFree (task: Submission, signal: AbortSignal): Promise<TaskHandle> {
    signal.throwIfAborted()
    try {
      return scheduler.submit(task)
    } catch (error) {
      if (!(error instanceof TasksFullError)) throw error
    }
    using place = reservation(await scheduler.reserveWhenFree(signal))
    return place.use(task)
  }

  function reservation (place: Place): Reservation & { use: (task: Submission) => TaskHandle } {
    const submit = <T>(id: string, fn: TaskFunction<T>, given?: SubmitOptions): TaskHandle<T> =>
      refusing(id, () => place.submit(submission(id, fn, given, submit))) as TaskHandle<T>
    return {
      use: (task) => place.submit(task),
      submit,
      release: () => place.release(),
      [Symbol.dispose]: () => place.release()
    }
  }

  async function enqueue (name: string, payload: unknown, given: EnqueueOptions | undefined): Promise<TaskHandle> {
    const defaults = named.defaults(name)
    const taskOptions = resolveSubmitOptions('tasks.enqueue', given, defaults, ['id'])
    const task = {
      name,
      // Not a sequence: callers choose ids too, and a durable engine holds those of other processes and of earlier runs.
      id: `${name}:${given?.id === undefined ? randomUUID() : checkId(given.id)}`,
      options: taskOptions,
      reqId: currentRequest()?.id,
      // Before anything is awaited: after that the caller isn't on the stack any more.
      submittedAt: sites.capture(tasks.enqueue),
      payload: await named.accept(name, payload)
    }
    return refusingLater(task.id, engine.enqueue(task))
  }

  const tasks: Omit<Tasks, 'submit' | 'reserve' | 'enqueue'> & Record<'submit' | 'reserve' | 'enqueue', (...args: never[]) => unknown> = {
    submit (id: string, fn: TaskFunction<unknown>, given?: SubmitOptions & Partial<WaitOptions>) {
      const task = submission(id, fn, given, tasks.submit, ['wait'])
      if (given?.wait === undefined) return refusing(id, () => scheduler.submit(task))
      const signal = checkSignal('tasks.submit.wait', given.wait)
      return promised('tasks.submit()', id, refusingLater(id, submitWhenFree(task, signal)), signal)
    },

    reserve (given?: WaitOptions) {
      if (given === undefined) return refusing('reserved', () => reservation(scheduler.reserve()))
      check.record('tasks.reserve', given, ['wait'])
      const signal = checkSignal('tasks.reserve.wait', given.wait)
      return promised('tasks.reserve()', 'reserved', refusingLater('reserved', scheduler.reserveWhenFree(signal)).then(reservation), signal)
    },

    enqueue (name: string, payload: unknown, given?: EnqueueOptions) {
      return promised('tasks.enqueue()', typeof name === 'string' ? name : typeof name, enqueue(name, payload, given))
    },

    group<T> (given: GroupOptions = {}) {
      check.record('tasks.group', given, ['limit', 'signal', 'detached'])
      const limit = given.limit === Infinity ? Infinity : check.integer('tasks.group.limit', given.limit ?? options.concurrency, { min: 1 })
      const detached = check.boolean('tasks.group.detached', given.detached ?? false)
      const request = currentRequest()
      const task = currentTask()
      const parents = [
        given.signal === undefined ? undefined : checkSignal('tasks.group.signal', given.signal),
        detached ? undefined : request?.disconnected,
        detached ? undefined : task?.signal
      ].filter((signal) => signal !== undefined)
      const unattended = dropped.unattended(sites.capture(tasks.group))
      const group = new Group<T>(limit, parents, unattended)
      dropped.watch(group as Group<never>, unattended, request ?? task)
      return group
    },

    idle: async () => {
      await Promise.all([scheduler.idle(), engine.drainable?.idle()])
    },

    stats: () => scheduler.stats()
  }
  return tasks as Tasks
}

function checkSignal (option: string, signal: unknown): AbortSignal {
  check.ensure(signal instanceof AbortSignal, option, 'an AbortSignal', signal)
  return signal as AbortSignal
}
