/** Operating is what an operator does with stored tasks: reads them, retries, discards and pauses. */
import { TasksNotStoredError } from '../shared/errors.ts'
import * as check from '../shared/options.ts'
import type { PayloadOf, RegisteredTasks, TaskName } from './named/define.ts'
import type { Engine } from './named/engine.ts'
import type { NamedTasks } from './named/named.ts'
import type {
  ConsumingProcess, EngineOperations, FailedOptions, FailedTask, Operations
} from './named/operations.ts'

/** The most tasks of a kind that one call reads. */
const MAX_LIMIT = 1_000

/** What an operator does with stored tasks, by calls of `app.tasks`. */
export interface Operating extends Operations<TaskName> {
  /**
   * Resolves to the tasks of this name that have failed for the last time, the latest first. Their number is `failed`
   * of queues(). Rejects with FC_ERR_TASK_UNKNOWN, FC_ERR_TASKS_NOT_STORED and FC_ERR_TASK_STORE, as the calls for a
   * name do.
   */
  failed<Name extends TaskName> (name: Name,
    options?: FailedOptions): Promise<Array<FailedTask<PayloadOf<RegisteredTasks[Name]>>>>
  /**
   * Resolves to the processes that consume stored tasks, or did so within the last hour, those that were seen last
   * first, at most 200. Rejects with FC_ERR_TASKS_NOT_STORED and FC_ERR_TASK_STORE.
   */
  processes (): Promise<ConsumingProcess[]>
}

export function createOperating (engine: Engine, named: NamedTasks): Operating {
  /** @throws FC_ERR_TASKS_NOT_STORED */
  function operations (call: string): EngineOperations {
    if (engine.operations === undefined) throw new TasksNotStoredError(`${call}()`)
    return engine.operations
  }

  /** @throws FC_ERR_TASK_UNKNOWN, FC_ERR_TASKS_NOT_STORED */
  function of (name: string, call: string): EngineOperations {
    named.defaults(name)
    return operations(call)
  }

  const limitOf = (option: string, limit: unknown): number => check.integer(option, limit, { min: 1, max: MAX_LIMIT })

  return {
    failed: async (name, given = {}) => {
      check.record('tasks.failed', given, ['offset', 'limit', 'payload'])
      return await of(name, 'failed').failed(name, {
        offset: check.integer('tasks.failed.offset', given.offset ?? 0, { min: 0 }),
        limit: limitOf('tasks.failed.limit', given.limit ?? 100),
        payload: check.boolean('tasks.failed.payload', given.payload ?? false)
      }) as never
    },
    inspect: async (name, given = {}) => {
      check.record('tasks.inspect', given, ['limit'])
      return await of(name, 'inspect').inspect(name, { limit: limitOf('tasks.inspect.limit', given.limit ?? 50) })
    },
    processes: async () => operations('processes').processes(),
    retry: async (name, id) => of(name, 'retry').retry(name, check.text('tasks.id', id)),
    retryAll: async (name) => of(name, 'retryAll').retryAll(name),
    discard: async (name, id) => of(name, 'discard').discard(name, check.text('tasks.id', id)),
    discardAll: async (name) => of(name, 'discardAll').discardAll(name),
    pause: async (name) => of(name, 'pause').pause(name),
    resume: async (name) => of(name, 'resume').resume(name),
    isPaused: async (name) => of(name, 'isPaused').isPaused(name)
  }
}
