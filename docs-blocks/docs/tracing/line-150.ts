import { tracingChannel } from 'node:diagnostics_channel'
import type { ChannelMessages } from 'fastify-concurrency'

const channel = 'fastify-concurrency:workers:job'
tracingChannel(channel).asyncEnd.subscribe((message) => {
  const { name, outcome, waitMs } = message as ChannelMessages[typeof channel]
  console.log(name, outcome, waitMs)
})
export {}
