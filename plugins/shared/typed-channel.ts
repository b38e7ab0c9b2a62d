/**
 * The suite's diagnostics channels are named `fastify-concurrency:<plugin>:<what happened>`. A channel without a
 * subscriber costs one property read, and a tracing channel costs five.
 */
import { channel, tracingChannel, type ChannelListener } from 'node:diagnostics_channel'

/** A diagnostics channel whose messages are typed. */
export interface TypedChannel<Message extends object> {
  readonly name: string
  readonly hasSubscribers: boolean
  publish (message: Message): void
  subscribe (listener: ChannelListener): void
  unsubscribe (listener: ChannelListener): void
}

// The type isn't combined with Node's, whose publish(unknown) would hide the type of the messages from ChannelMessages.
export function typedChannel<Message extends object> (name: string): TypedChannel<Message> {
  return channel(`fastify-concurrency:${name}`) as TypedChannel<Message>
}

/**
 * A TracingChannel of Node whose messages are typed: one object for each piece of work, the same in all of its events.
 * `start` and `end` enclose the code that begins the work. When the work has ended, `error` comes if it failed, then
 * `asyncStart` and `asyncEnd`, once each.
 */
export interface TypedTracingChannel<Message extends object> {
  readonly name: string
  readonly hasSubscribers: boolean
  /** Calls `fn` as the code that begins the work, with the stores that subscribers have bound to `start`. */
  begin<T> (message: Message, fn: () => T): T
  end (message: Message & { error?: unknown }): void
}

export function typedTracingChannel<Message extends object> (name: string): TypedTracingChannel<Message> {
  const channel = tracingChannel<Message, Message>(`fastify-concurrency:${name}`)
  return {
    name: `fastify-concurrency:${name}`,
    get hasSubscribers () { return channel.hasSubscribers },
    begin (message, fn) {
      return channel.start.runStores(message, () => {
        try {
          return fn()
        } finally {
          channel.end.publish(message)
        }
      })
    },
    end (message) {
      if (message.error !== undefined) channel.error.publish(message)
      channel.asyncStart.publish(message)
      channel.asyncEnd.publish(message)
    }
  }
}
