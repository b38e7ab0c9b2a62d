import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'

declare const db: { ping: () => Promise<void> }

const app = Fastify()
await app.register(concurrency, { lifecycle: { readyPath: '/status', ready: [async function database () { await db.ping() }] } })
export {}
