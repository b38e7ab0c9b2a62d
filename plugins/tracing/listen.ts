/** Connects the channels of the suite to the spans of one application. */
import type { FastifyInstance } from 'fastify'
import { listen, type ChannelMessages } from '../channel-messages.ts'
import { logSafely } from '../shared/log.ts'
import type { Spans } from './spans.ts'

type Names = keyof ChannelMessages

/** Returns a function that ends the listening. */
export function listenTo (app: FastifyInstance, spans: Spans): () => void {
  const stops: Array<() => void> = []
  let hasFailed = false

  /**
   * A span processor of the application may throw, and so may a getter of an error that is recorded: out of a channel's
   * listener, that would end the process.
   */
  function on<Name extends Names> (name: Name, handle: (message: ChannelMessages[Name]) => void): void {
    stops.push(listen(app.server, name, (message) => {
      try {
        handle(message)
      } catch (err) {
        if (!hasFailed) logSafely(app.log, 'error', { err }, 'tracing has failed: a span is incomplete. Further failures are not logged')
        hasFailed = true
      }
    }))
  }

  /** Listens to two events of a tracing channel, each of which is a channel whose name Node.js documents. */
  function trace<Name extends Names> (
    name: Name, start: (message: ChannelMessages[Name]) => void, end: (message: ChannelMessages[Name]) => void
  ): void {
    on(`tracing:${name}:start` as Name, start)
    on(`tracing:${name}:asyncEnd` as Name, end)
  }

  trace('fastify-concurrency:workers:job', (job) => spans.startJob(job), (job) => spans.endJob(job))
  trace('fastify-concurrency:tasks:attempt', (attempt) => spans.startAttempt(attempt), (attempt) => spans.endAttempt(attempt))
  on('fastify-concurrency:tasks:enqueued', (task) => spans.carry(task))
  on('fastify-concurrency:tasks:refused', ({ name, error }) => spans.event('refused', { what: 'task', name, code: (error as { code?: string }).code }))
  on('fastify-concurrency:tasks:duplicate', ({ name }) => spans.event('duplicate', { what: 'task', name }))
  on('fastify-concurrency:limiter:busy', ({ policy, reason, retryAfter }) =>
    spans.event('refused', { what: 'limit', policy, reason, retry_after: retryAfter }))
  on('fastify-concurrency:limiter:refused', ({ policy, retryAfter }) => spans.event('refused', { what: 'limit', policy, retry_after: retryAfter }))
  // Neither the key of a policy nor that of a lock: both may be clients' data.
  on('fastify-concurrency:locks:refused', ({ name, error }) => spans.event('refused', { what: 'lock', name, code: (error as { code?: string }).code }))
  on('fastify-concurrency:lifecycle:refused', ({ phase }) => spans.event('refused', { what: 'request', phase }))
  return () => { for (const stop of stops) stop() }
}
