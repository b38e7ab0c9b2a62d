// Answers GET /work with a 503 in one of several ways.
import concurrency from 'fastify-concurrency'
import { createError } from '@fastify/error'
import { jobs } from '../jobs.mjs'
import { serve } from '../lib/serve.mjs'

const kind = process.argv[2] ?? 'none'
const Overloaded = createError('OVERLOADED', 'The job "%s" was refused, try again in %d s', 503)

/** @type {Record<string, (app: import('fastify').FastifyInstance) => unknown>} */
const kinds = {
  served: (app) => app.get('/work', async () => ({ result: 1 })),
  sent: (app) => app.get('/work', async (_request, reply) => reply.code(503).header('retry-after', '1').send({ error: 'overloaded' })),
  thrown: (app) => app.get('/work', async () => { throw new Overloaded('spin', 1) }),
  async ours (app) {
    await app.register(concurrency, { workers: { jobs, maxThreads: 1, maxQueue: 0 } })
    app.get('/work', async () => ({ result: await app.workers.run('spin', 1) }))
    // Occupies the only thread without using the CPU.
    app.addHook('onReady', async () => { app.workers.run('cooperativeAsync', undefined, { timeout: Infinity }).catch(() => {}) })
  }
}
const setUp = kinds[kind]
if (setUp === undefined) throw new Error(`There is no kind named ${kind}`)

await serve(setUp)
