/**
 * The suite's diagnostics channels are named `fastify-concurrency:<plugin>:<what happened>`. A channel without a subscriber costs one property
 * read.
 */
import { channel, type ChannelListener } from 'node:diagnostics_channel'

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
