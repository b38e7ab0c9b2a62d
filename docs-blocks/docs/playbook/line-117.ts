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
app.post('/bad', async () => {
  for (let attempt = 1; ; attempt++) try { return await call() } catch (error) { if (attempt === 10) throw error }
})
app.post('/good', async (request) => {
  app.tasks.submit(`call:${request.id}`, call, { retries: 9, retryIf: (error) => !('statusCode' in error && Number(error.statusCode) < 500) })
})
export {}
