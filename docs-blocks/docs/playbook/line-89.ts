import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import type { FastifyInstance } from 'fastify'
import 'fastify-concurrency'
import './jobs.ts'
declare const app: FastifyInstance
declare function hash (password: string): string
declare function send (signal?: AbortSignal): Promise<void>
declare function call (): Promise<void>
declare const parts: ReadonlyArray<(signal?: AbortSignal) => Promise<string>>
declare const stock: { count: number, connection?: { id: number } }
declare function connect (): Promise<{ id: number }>
declare const replicas: ReadonlyArray<(signal?: AbortSignal) => Promise<string>>
app.post('/bad', async (request, reply) => {
  send().catch((error: unknown) => request.log.error(error))
  return reply.code(202).send()
})
app.post('/good', async (request, reply) => {
  app.tasks.submit(`mail:${request.id}`, ({ signal }) => send(signal))
  return reply.code(202).send()
})
export {}
