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
app.get('/bad', async () => new Promise((resolve) => new Worker('./hash.js').once('message', resolve)))
app.get('/good', async () => app.workers.run('password', 'correct horse'))
export {}
