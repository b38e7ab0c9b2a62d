/** Operating is what an operator does with stored tasks: reads what has failed, retries or discards it, and pauses. */
import { TasksNotStoredError } from '../shared/errors.ts'
import * as check from '../shared/options.ts'
import type { PayloadOf, RegisteredTasks, TaskName } from './named/define.ts'
import type { Engine, EngineOperations } from './named/engine.ts'
import type { FailedOptions, FailedTask } from './named/failed.ts'
import type { NamedTasks } from './named/named.ts'

/** The most failed tasks that one call of failed() reads. */
const MAX_LIMIT = 1_000

/** What an operator does with stored tasks, by calls of `app.tasks`. */
export interface Operating {
  /**
   * Resolves to the tasks of this name that have failed for the last time, the latest first. Their number is `failed`
   * of queues(). Rejects with FC_ERR_TASK_UNKNOWN, FC_ERR_TASKS_NOT_STORED and FC_ERR_TASK_STORE, as all calls below.
   */
  failed<Name extends TaskName> (name: Name,
    options?: FailedOptions): Promise<Array<FailedTask<PayloadOf<RegisteredTasks[Name]>>>>
  /**
   * Puts a failed task back in line, with its attempts counted anew and its `idempotencyKey` as it was. Rejects with
   * FC_ERR_TASK_NOT_FOUND, FC_ERR_TASK_NOT_FAILED, and with FC_ERR_TASK_DUPLICATE if another task of its id waits or
   * runs.
   *
   * @param id the `id` of the task, or its `storedId`. Of several failed tasks with this id it is the latest.
   */
  retry (name: TaskName, id: string): Promise<void>
  /**
   * Puts all tasks of this name that have failed back in line, the oldest first. A task whose id waits or runs already
   * stays among the failed. Resolves to how many were put back.
   */
  retryAll (name: TaskName): Promise<number>
  /**
   * Forgets a failed task, with its payload and its error. Rejects with FC_ERR_TASK_NOT_FOUND and
   * FC_ERR_TASK_NOT_FAILED. Use cancel() for a task that waits or runs.
   *
   * @param id as of retry()
   */
  discard (name: TaskName, id: string): Promise<void>
  /** Forgets all tasks of this name that have failed. Resolves to how many there were. */
  discardAll (name: TaskName): Promise<number>
  /**
   * No process begins a task of this name until resume(). What runs goes on, and enqueue() accepts as before, up to
   * `maxStored`. A pause is kept in Redis: it outlives this process, and a restart.
   */
  pause (name: TaskName): Promise<void>
  /** Ends a pause, if there is one. */
  resume (name: TaskName): Promise<void>
  /** Resolves to whether the tasks of this name are paused. */
  isPaused (name: TaskName): Promise<boolean>
}

export function createOperating (engine: Engine, named: NamedTasks): Operating {
  /** Returns the engine's operations. @throws FC_ERR_TASK_UNKNOWN, FC_ERR_TASKS_NOT_STORED */
  function of (name: string, call: string): EngineOperations {
    named.defaults(name)
    if (engine.operations === undefined) throw new TasksNotStoredError(`${call}()`)
    return engine.operations
  }

  return {
    failed: async (name, given = {}) => {
      check.record('tasks.failed', given, ['offset', 'limit', 'payload'])
      return await of(name, 'failed').failed(name, {
        offset: check.integer('tasks.failed.offset', given.offset ?? 0, { min: 0 }),
        limit: check.integer('tasks.failed.limit', given.limit ?? 100, { min: 1, max: MAX_LIMIT }),
        payload: check.boolean('tasks.failed.payload', given.payload ?? false)
      }) as never
    },
    retry: async (name, id) => of(name, 'retry').retry(name, check.text('tasks.id', id)),
    retryAll: async (name) => of(name, 'retryAll').retryAll(name),
    discard: async (name, id) => of(name, 'discard').discard(name, check.text('tasks.id', id)),
    discardAll: async (name) => of(name, 'discardAll').discardAll(name),
    pause: async (name) => of(name, 'pause').pause(name),
    resume: async (name) => of(name, 'resume').resume(name),
    isPaused: async (name) => of(name, 'isPaused').isPaused(name)
  }
}
