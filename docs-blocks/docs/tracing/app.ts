import { FastifyOtelInstrumentation } from '@fastify/otel'
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { jobs } from './jobs.ts'

declare module 'fastify-concurrency' { interface Register { jobs: typeof jobs } }

const app = Fastify()
await app.register(new FastifyOtelInstrumentation().plugin())
await app.register(concurrency, { workers: { jobs }, tracing: {} })

app.get('/primes', async function countPrimes ({ id }) {
  const primes = await app.workers.run('primes', 10_000)
  app.tasks.submit(`audit:${id}`, async ({ log }) => log.info({ primes }, 'counted'))
  return { primes }
})

await app.listen({ port: 3000 })
