/**
 * Where named tasks are kept and run. The memory engine runs them in this process and loses them with it; a durable one stores
 * them. Contract: test/tasks/named/engine-contract.ts, run against each engine.
 */
import type { FastifyBaseLogger } from 'fastify'
import type { Drainable } from '../../shared/drainables.ts'
import type { TaskContext } from '../attempt.ts'
import type { TaskOptions } from '../options.ts'
import type { Scheduler } from '../scheduler.ts'
import type { Submission, TaskHandle } from '../task.ts'

export interface NamedTask {
  name: string
  /** The name, a colon, and what the caller gave as id or a number that is unique. */
  id: string
  /** A copy that JSON made; the caller's own isn't seen by the handler. */
  payload: unknown
  options: TaskOptions
  reqId: string | undefined
  submittedAt: { stack: string } | undefined
}

export interface Engine {
  /**
   * Accepts the task, or rejects with FC_ERR_TASKS_FULL, FC_ERR_TASK_DUPLICATE or FC_ERR_CLOSING.
   * It calls the host's run() for each attempt and keeps the options: deadline, retries with backoff, delay, duplicates.
   */
  enqueue (task: NamedTask): Promise<TaskHandle>
  /** What it holds beside the scheduler, to be drained in the phase `tasks`. */
  readonly drainable?: Drainable
}

export interface EngineHost {
  readonly names: readonly string[]
  readonly log: FastifyBaseLogger
  /** Bounded background work in this process. */
  readonly scheduler: Pick<Scheduler, 'submit'>
  /** Calls the handler of a name. */
  run (name: string, payload: unknown, context: TaskContext): unknown
}

/** Called while the app boots; if it throws, so does boot. */
export type EngineFactory = (host: EngineHost) => Engine | Promise<Engine>

export const memoryEngine: EngineFactory = ({ scheduler, run }) => ({
  enqueue: async ({ name, payload, ...rest }) => {
    const submission: Submission = { ...rest, fn: (context) => run(name, payload, context) }
    return scheduler.submit(submission)
  }
})
