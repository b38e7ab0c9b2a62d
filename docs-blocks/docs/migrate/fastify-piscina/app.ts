import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { jobs } from './jobs.ts'

const app = Fastify()
await app.register(concurrency, { workers: { jobs } })
app.get('/', async () => ({ sum: await app.workers.run('add', { a: 1, b: 2 }) }))
await app.listen({ port: 3000 })
