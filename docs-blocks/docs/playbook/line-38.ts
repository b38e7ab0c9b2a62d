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
app.post<{ Body: { password: string } }>('/bad', async (request) => hash(request.body.password))
app.post<{ Body: { password: string } }>('/good', async (request) => app.workers.run('password', request.body.password))
export {}
