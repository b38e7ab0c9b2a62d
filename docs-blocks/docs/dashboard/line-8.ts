import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'

const app = Fastify()
await app.register(concurrency, { dashboard: {} })
await app.listen({ port: 3000 })
export {}
