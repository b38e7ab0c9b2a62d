/** Reports what becomes of tasks to the log and to the channels, and calls their functions. */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { FastifyInstance } from 'fastify'
import { currentRequest, outsideRequest } from '../cancellation/index.ts'
import type { TaskContext } from './attempt.ts'
import * as channels from './channels.ts'
import type { TaskMessage } from './channels.ts'
import type { Observer } from './observer.ts'
import { say } from './say.ts'
import type { Task, TaskFunction } from './task.ts'

const current = new AsyncLocalStorage<TaskContext>()

/** The context of the task that the running code is part of. */
export function currentTask (): TaskContext | undefined {
  return current.getStore()
}

/** @param attemptEnded is told of each context when its attempt's function has ended */
export function createObserver (app: FastifyInstance, attemptEnded: (context: TaskContext) => void): Observer {
  const { server } = app
  const message = ({ id, name }: Task): TaskMessage => ({ server, id, name })
  const fields = ({ id, attempts, reqId }: Task): Record<string, unknown> => ({ task: id, attempt: attempts, reqId })

  return {
    log: app.log,
    call ({ submission: { fn } }, context) {
      // Not in the request any more: its disconnect must not cancel the jobs that a task runs.
      return currentRequest() === undefined ? current.run(context, adopt, fn, context) : outsideRequest(() => current.run(context, adopt, fn, context))
    },
    stopped (task) {
      attemptEnded(task.current!)
    },
    retryIfFailed (task, error) {
      say(app.log, 'error', { ...fields(task), err: error }, 'retryIf has failed, so the task is not tried again')
    },
    submitted (task) {
      if (channels.taskSubmitted.hasSubscribers) channels.taskSubmitted.publish(message(task))
    },
    started (task, waitedMs) {
      if (channels.taskStarted.hasSubscribers) channels.taskStarted.publish({ ...message(task), attempt: task.attempts, waitedMs })
    },
    completed (task, durationMs) {
      if (app.log.level === 'debug' || app.log.level === 'trace') say(app.log, 'debug', { ...fields(task), durationMs: Math.round(durationMs) }, 'task completed')
      if (channels.taskCompleted.hasSubscribers) channels.taskCompleted.publish({ ...message(task), attempt: task.attempts, durationMs })
    },
    failed (task, error) {
      say(app.log, 'error', { ...fields(task), err: error }, 'task failed')
      if (channels.taskFailed.hasSubscribers) channels.taskFailed.publish({ ...message(task), attempt: task.attempts, error })
    },
    retried (task, error, delayMs) {
      say(app.log, 'warn', { ...fields(task), err: error, delayMs: Math.round(delayMs) }, 'task failed and will be tried again')
      if (channels.taskRetried.hasSubscribers) channels.taskRetried.publish({ ...message(task), attempt: task.attempts, error, delayMs })
    },
    aborted (task, error) {
      say(app.log, 'info', { ...fields(task), err: error }, 'task aborted')
      if (channels.taskAborted.hasSubscribers) channels.taskAborted.publish({ ...message(task), attempt: task.attempts, error })
    },
    leaked (task) {
      say(app.log, 'error', { ...fields(task), submitted: task.stack }, 'task ignores its signal and runs on; nobody waits for it any more')
      if (channels.taskLeaked.hasSubscribers) channels.taskLeaked.publish({ ...message(task), attempt: task.attempts, stack: task.stack })
    }
  }
}

/**
 * Calls the function. What it returns may be a thenable of any kind, which may settle twice, or throw when its `then` is called, or run
 * a query each time: Promise.resolve() calls it once.
 */
function adopt (fn: TaskFunction<unknown>, context: TaskContext): unknown {
  const result = fn(context)
  const isObject = (typeof result === 'object' && result !== null) || typeof result === 'function'
  return isObject ? Promise.resolve(result) : result
}
