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
  'fastify-concurrency:workers:defined': MessageOf<typeof workers.defined>
  'fastify-concurrency:workers:queued': MessageOf<typeof workers.queued>
  'fastify-concurrency:workers:dispatched': MessageOf<typeof workers.dispatched>
  'fastify-concurrency:workers:completed': MessageOf<typeof workers.completed>
  'fastify-concurrency:workers:failed': MessageOf<typeof workers.failed>
  'fastify-concurrency:workers:refused': MessageOf<typeof workers.refused>
  'fastify-concurrency:workers:aborted': MessageOf<typeof workers.aborted>
  'fastify-concurrency:workers:expired': MessageOf<typeof workers.expired>
  'fastify-concurrency:workers:crashed': MessageOf<typeof workers.crashed>
  'fastify-concurrency:workers:job': MessageOf<typeof workers.job>
  'fastify-concurrency:workers:thread-started': MessageOf<typeof workers.threadStarted>
  'fastify-concurrency:workers:thread-ended': MessageOf<typeof workers.threadEnded>
  'fastify-concurrency:limiter:defined': MessageOf<typeof limiter.defined>
  'fastify-concurrency:limiter:refused': MessageOf<typeof limiter.refused>
  'fastify-concurrency:limiter:granted': MessageOf<typeof limiter.granted>
  'fastify-concurrency:limiter:store-failed': MessageOf<typeof limiter.storeFailed>
  'fastify-concurrency:limiter:store-recovered': MessageOf<typeof limiter.storeRecovered>
  'fastify-concurrency:tasks:defined': MessageOf<typeof tasks.tasksDefined>
  'fastify-concurrency:tasks:submitted': MessageOf<typeof tasks.taskSubmitted>
  'fastify-concurrency:tasks:started': MessageOf<typeof tasks.taskStarted>
  'fastify-concurrency:tasks:completed': MessageOf<typeof tasks.taskCompleted>
  'fastify-concurrency:tasks:failed': MessageOf<typeof tasks.taskFailed>
  'fastify-concurrency:tasks:retried': MessageOf<typeof tasks.taskRetried>
  'fastify-concurrency:tasks:aborted': MessageOf<typeof tasks.taskAborted>
  'fastify-concurrency:tasks:refused': MessageOf<typeof tasks.taskRefused>
  'fastify-concurrency:tasks:duplicate': MessageOf<typeof tasks.taskDuplicate>
  'fastify-concurrency:tasks:leaked': MessageOf<typeof tasks.taskLeaked>
  'fastify-concurrency:tasks:enqueued': MessageOf<typeof tasks.taskEnqueued>
  'fastify-concurrency:tasks:attempt': MessageOf<typeof tasks.taskAttempt>
  'fastify-concurrency:tasks:group-dropped': MessageOf<typeof tasks.groupDropped>
  'fastify-concurrency:locks:acquired': MessageOf<typeof locks.lockAcquired>
  'fastify-concurrency:locks:released': MessageOf<typeof locks.lockReleased>
  'fastify-concurrency:locks:hold-exceeded': MessageOf<typeof locks.lockHoldExceeded>
  'fastify-concurrency:locks:refused': MessageOf<typeof locks.lockRefused>
  'fastify-concurrency:loop:refused': MessageOf<typeof loop.loopRefused>
  'fastify-concurrency:loop:stalled': MessageOf<typeof loop.loopStalled>
  'fastify-concurrency:lifecycle:entered': MessageOf<typeof lifecycle.phaseEntered>
  'fastify-concurrency:lifecycle:refused': MessageOf<typeof lifecycle.requestRefused>
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
