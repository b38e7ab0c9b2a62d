// app.ts
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { jobs } from './jobs.ts'

const app = Fastify()
await app.register(concurrency, { workers: { jobs } })
app.get('/square', async () => app.workers.run('square', 7))

const response = await app.inject('/square')
console.log(response.body)
await app.close()
