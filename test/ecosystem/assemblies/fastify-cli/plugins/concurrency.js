import concurrency from 'fastify-concurrency'
import fp from 'fastify-plugin'
import { jobs } from '../../../shared/jobs.js'
import { watch } from '../../../shared/watch.js'

export default fp(async (fastify) => {
  watch(fastify)
  await fastify.register(concurrency, { workers: { jobs, maxThreads: 2 } })
})
