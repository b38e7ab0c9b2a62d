import type { FastifyInstance } from 'fastify'
import 'fastify-concurrency'
declare const app: FastifyInstance
declare const mail: object
declare const queue: { put: (mail: object, options: { delay: number }) => Promise<void> }
declare const error: unknown
declare function alertOperators (text: string): void
import { TasksFullError } from 'fastify-concurrency'

if (error instanceof TasksFullError) await queue.put(mail, { delay: error.retryAfter })
export {}
