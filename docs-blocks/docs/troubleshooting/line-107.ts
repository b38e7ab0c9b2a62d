import type { FastifyInstance } from 'fastify'
import 'fastify-concurrency'
declare const app: FastifyInstance
declare const mail: object
declare const queue: { put: (mail: object, options: { delay: number }) => Promise<void> }
declare const error: unknown
declare function alertOperators (text: string): void
import { subscribe } from 'node:diagnostics_channel'
import type { ChannelMessages } from 'fastify-concurrency'

const failed = 'fastify-concurrency:tasks:failed'
subscribe(failed, (message) => {
  const { id, error } = message as ChannelMessages[typeof failed]
  alertOperators(`${id}: ${error.message}`)
})
export {}
