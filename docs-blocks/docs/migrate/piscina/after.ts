// after
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { jobs } from './jobs.ts'

const app = Fastify()
await app.register(concurrency, { workers: { jobs, maxThreads: 4 } })
await app.ready()
const sum = await app.workers.run('add', { a: 4, b: 6 })
console.log(sum)
await app.close()
