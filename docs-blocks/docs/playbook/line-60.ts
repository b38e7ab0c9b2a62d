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
app.get('/bad', async () => app.workers.run('search', 'tokoy', { detached: true }))
app.get('/good', async () => app.workers.run('search', 'tokoy'))
export {}
