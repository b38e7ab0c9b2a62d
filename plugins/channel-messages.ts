import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { TypedChannel, TypedTracingChannel } from './shared/typed-channel.ts'
import type * as lifecycle from './lifecycle/channels.ts'
import type * as limiter from './limiter/channels.ts'
import type * as loop from './loop/channels.ts'
import type * as locks from './locks/channels.ts'
import type * as tasks from './tasks/channels.ts'
import type * as workers from './workers/channels.ts'

type MessageOf<Channel> = Channel extends TypedChannel<infer Message> | TypedTracingChannel<infer Message> ? Message : never

/**
 * The type of the messages of each diagnostics channel, by the channel's name. `workers:job` and `tasks:attempt` are tracing channels.
 *
 * @example
 * import { subscribe } from 'node:diagnostics_channel'
 * import type { ChannelMessages } from 'fastify-concurrency'
 * const failed = 'fastify-concurrency:tasks:failed'
 * subscribe(failed, (message) => {
 *   const { id, error } = message as ChannelMessages[typeof failed]
 *   alert(`${id}: ${error.message}`)
 * })
 */
export interface ChannelMessages {
  /** The application got ready, with the `names` of the pool's jobs. */
  'fastify-concurrency:workers:defined': MessageOf<typeof workers.defined>
  /** A job was admitted. */
  'fastify-concurrency:workers:queued': MessageOf<typeof workers.queued>
  /** A job was handed to a thread. */
  'fastify-concurrency:workers:dispatched': MessageOf<typeof workers.dispatched>
  /** A job resolved. */
  'fastify-concurrency:workers:completed': MessageOf<typeof workers.completed>
  /** A job rejected with its own error. */
  'fastify-concurrency:workers:failed': MessageOf<typeof workers.failed>
  /** A job was refused, with the `reason` and the numbers behind it. */
  'fastify-concurrency:workers:refused': MessageOf<typeof workers.refused>
  /** A job's client left or its signal aborted. */
  'fastify-concurrency:workers:aborted': MessageOf<typeof workers.aborted>
  /** A job's deadline has passed. */
  'fastify-concurrency:workers:expired': MessageOf<typeof workers.expired>
  /** A job's thread died under it. */
  'fastify-concurrency:workers:crashed': MessageOf<typeof workers.crashed>
  /**
   * A tracing channel: one job, from the call of `run()` until it has ended, with `outcome`, `attempt`, `waitMs`
   * and `error`.
   */
  'fastify-concurrency:workers:job': MessageOf<typeof workers.job>
  /** A thread has loaded the jobs. */
  'fastify-concurrency:workers:thread-started': MessageOf<typeof workers.threadStarted>
  /**
   * A thread ended. `why` is `closed`, `crashed`, `overdue` (its job ignored its abort), `held-up` (by code of a finished job), or, while it loaded the
   * jobs, `slow` or `broken`.
   */
  'fastify-concurrency:workers:thread-ended': MessageOf<typeof workers.threadEnded>
  /** The application got ready, with the `names` of the policies. */
  'fastify-concurrency:limiter:defined': MessageOf<typeof limiter.defined>
  /** A policy refused a request, or a call of `allow` or `wait`. */
  'fastify-concurrency:limiter:refused': MessageOf<typeof limiter.refused>
  /** A policy with `concurrency` refused a request, or a call of `run`, with the `reason` and the numbers behind it. */
  'fastify-concurrency:limiter:busy': MessageOf<typeof limiter.busy>
  /** A policy granted a request, or a call of `allow`, `reserve`, `run` or `wait`. */
  'fastify-concurrency:limiter:granted': MessageOf<typeof limiter.granted>
  /** Redis is away. */
  'fastify-concurrency:limiter:store-failed': MessageOf<typeof limiter.storeFailed>
  /** Redis is back. */
  'fastify-concurrency:limiter:store-recovered': MessageOf<typeof limiter.storeRecovered>
  /** The application got ready, with the `names` of named tasks. */
  'fastify-concurrency:tasks:defined': MessageOf<typeof tasks.tasksDefined>
  /** A task was accepted. */
  'fastify-concurrency:tasks:submitted': MessageOf<typeof tasks.taskSubmitted>
  /** An attempt began, with `attempt` and `waitMs`. */
  'fastify-concurrency:tasks:started': MessageOf<typeof tasks.taskStarted>
  /** A task resolved, with `durationMs`. */
  'fastify-concurrency:tasks:completed': MessageOf<typeof tasks.taskCompleted>
  /** A task rejected for the last time. */
  'fastify-concurrency:tasks:failed': MessageOf<typeof tasks.taskFailed>
  /** A task will be tried again in `delayMs`. */
  'fastify-concurrency:tasks:retried': MessageOf<typeof tasks.taskRetried>
  /** A task was aborted by `cancel()`, or given up by a shutdown; or a stored task was handed back, or its lock lost. */
  'fastify-concurrency:tasks:aborted': MessageOf<typeof tasks.taskAborted>
  /** A task was refused. `reason` is `full`, `store` (Redis) or `closing`. */
  'fastify-concurrency:tasks:refused': MessageOf<typeof tasks.taskRefused>
  /** A task was not accepted, because a task with its id waits or runs. */
  'fastify-concurrency:tasks:duplicate': MessageOf<typeof tasks.taskDuplicate>
  /** A task's function ignores its signal. */
  'fastify-concurrency:tasks:leaked': MessageOf<typeof tasks.taskLeaked>
  /** A named task is given to its engine. A subscriber may set the `carrier` that goes with it. */
  'fastify-concurrency:tasks:enqueued': MessageOf<typeof tasks.taskEnqueued>
  /** A tracing channel: one attempt of a task, with `attempt`, `waitMs`, `outcome` and `error`. */
  'fastify-concurrency:tasks:attempt': MessageOf<typeof tasks.taskAttempt>
  /**
   * A group has failed with an `error`, or was aborted because its request was answered, and nobody awaits its
   * promise.
   */
  'fastify-concurrency:tasks:group-dropped': MessageOf<typeof tasks.groupDropped>
  /** A lock was acquired, with `waitMs`. */
  'fastify-concurrency:locks:acquired': MessageOf<typeof locks.lockAcquired>
  /** A lock was released, with `heldMs`. */
  'fastify-concurrency:locks:released': MessageOf<typeof locks.lockReleased>
  /** A lock is held for longer than `maxHold`, with its holder's `stack`. */
  'fastify-concurrency:locks:hold-exceeded': MessageOf<typeof locks.lockHoldExceeded>
  /** A caller was refused, with the `error`. `reason` is `full`, `timeout` or `closing`. */
  'fastify-concurrency:locks:refused': MessageOf<typeof locks.lockRefused>
  /** A request was refused, with the `reason` and the numbers behind it. */
  'fastify-concurrency:loop:refused': MessageOf<typeof loop.loopRefused>
  /** Something has held the event loop for longer than `slow`, with its `route`, if a request did it. */
  'fastify-concurrency:loop:stalled': MessageOf<typeof loop.loopStalled>
  /** A phase of the shutdown began. */
  'fastify-concurrency:lifecycle:entered': MessageOf<typeof lifecycle.phaseEntered>
  /** A request was refused because of the shutdown. */
  'fastify-concurrency:lifecycle:refused': MessageOf<typeof lifecycle.requestRefused>
  /** Nothing accepted is left. The message has the shutdown's `report`. */
  'fastify-concurrency:lifecycle:drained': MessageOf<typeof lifecycle.drained>
}

/**
 * Calls `listener` for the messages of one application on a channel of the suite: channels are the process's own. Returns the function that ends it.
 */
export function listen<Name extends keyof ChannelMessages> (server: object, name: Name, listener: (message: ChannelMessages[Name]) => void): () => void {
  const filter = (message: unknown): void => {
    if ((message as { server: object }).server === server) listener(message as ChannelMessages[Name])
  }
  subscribe(name, filter)
  return () => unsubscribe(name, filter)
}
