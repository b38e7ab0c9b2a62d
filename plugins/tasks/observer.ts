/** Who runs the tasks' functions and is told what becomes of them. What it is told has happened already, so that it may call back. */
import type { FastifyBaseLogger } from 'fastify'
import type { TaskContext } from './attempt.ts'
import type { Task } from './task.ts'

export interface Observer {
  /** The parent of each task's logger. */
  readonly log: FastifyBaseLogger
  /** Calls the task's function. What may be a promise of any kind comes as one of ours. */
  call (task: Task, context: TaskContext): unknown
  /** The function of an attempt has ended. */
  stopped (task: Task): void
  /** The task isn't tried again, since `retryIf` has thrown or returned a promise. */
  retryIfFailed (task: Task, error: Error): void
  submitted (task: Task): void
  started (task: Task, waitedMs: number): void
  completed (task: Task, durationMs: number): void
  failed (task: Task, error: Error): void
  retried (task: Task, error: Error, delayMs: number): void
  aborted (task: Task, error: Error): void
  leaked (task: Task): void
}
