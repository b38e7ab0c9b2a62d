import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'

const app = Fastify()
await app.register(concurrency, { metrics: { path: '/metrics' } })
export {}
