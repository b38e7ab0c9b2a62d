/**
 * The suite's diagnostics channels: `fastify-concurrency:<plugin>:<what happened>`.
 * Plugins publish, nobody need listen: a channel without a subscriber costs one property read.
 */
import { channel, type Channel } from 'node:diagnostics_channel'

/** A diagnostics channel whose messages are typed. */
export interface TypedChannel<Message extends object> {
  readonly name: string
  readonly hasSubscribers: boolean
  publish (message: Message): void
}

export function typedChannel<Message extends object> (name: string): TypedChannel<Message> & Channel {
  return channel(`fastify-concurrency:${name}`) as TypedChannel<Message> & Channel
}
