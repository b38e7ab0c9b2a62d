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
app.get('/bad', async () => {
  const hashes: string[] = []
  for (const password of ['a', 'b', 'c']) void app.workers.run('password', password).then((hash) => hashes.push(hash))
  await sleep(10)
  return hashes
})
app.get('/good', async () => app.workers.map('password', ['a', 'b', 'c']))
export {}
