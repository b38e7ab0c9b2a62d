import Fastify from 'fastify'
import lifecycle from 'fastify-concurrency/lifecycle'

declare const worker: { close: () => Promise<void> }   // a Worker of bullmq

const app = Fastify()
await app.register(lifecycle)
app.lifecycle.onShutdown(async () => { await worker.close() })
export {}
