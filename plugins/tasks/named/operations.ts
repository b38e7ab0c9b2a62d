/** Operations is what an operator does with stored tasks, as `app.tasks` and the engine say it. */
import type { FailedOptions, FailedTask } from './failed.ts'
import type { ConsumingProcess, InspectOptions, Inspection } from './inspection.ts'

/** What an operator does with the stored tasks of one name. */
export interface Operations<Name extends string = string> {
  /**
   * Puts a failed task back in line, with its attempts counted anew and its `idempotencyKey` as it was. Rejects with
   * FC_ERR_TASK_NOT_FOUND, FC_ERR_TASK_NOT_FAILED, and with FC_ERR_TASK_DUPLICATE if another task of its id waits or
   * runs.
   *
   * @param id the `id` of the task, or its `storedId`. Of several failed tasks with this id it is the latest.
   */
  retry (name: Name, id: string): Promise<void>
  /**
   * Puts all tasks of this name that have failed back in line, the oldest first. A task whose id waits or runs already
   * stays among the failed. Resolves to how many were put back.
   */
  retryAll (name: Name): Promise<number>
  /**
   * Forgets a failed task, with its payload and its error. Rejects with FC_ERR_TASK_NOT_FOUND and
   * FC_ERR_TASK_NOT_FAILED. Use cancel() for a task that waits or runs.
   *
   * @param id as of retry()
   */
  discard (name: Name, id: string): Promise<void>
  /** Forgets all tasks of this name that have failed. Resolves to how many there were. */
  discardAll (name: Name): Promise<number>
  /**
   * No process begins a task of this name until resume(). What runs goes on, and enqueue() accepts as before, up to
   * `maxStored`. A pause is kept in Redis: it outlives this process, and a restart.
   */
  pause (name: Name): Promise<void>
  /** Ends a pause, if there is one. */
  resume (name: Name): Promise<void>
  /** Resolves to whether the tasks of this name are paused. */
  isPaused (name: Name): Promise<boolean>
  /**
   * Resolves to the tasks of this name that run, in any process, and to those that run next of the waiting, and of the
   * delayed and the retried; and to its schedules. Use queues() for their numbers.
   */
  inspect (name: Name, options?: InspectOptions): Promise<Inspection>
}

/** What an engine that stores tasks offers. Names are defined, and options are whole. */
export interface EngineOperations extends Operations {
  /** Returns tasks of a name that have failed for the last time. */
  failed (name: string, options: Required<FailedOptions>): Promise<FailedTask[]>
  inspect (name: string, options: Required<InspectOptions>): Promise<Inspection>
  /** Returns the processes that consume tasks. */
  processes (): Promise<ConsumingProcess[]>
}
