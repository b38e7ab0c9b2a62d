// Piscina as an application uses it, with one thread per CPU. `abort`: a client that leaves aborts its task. `queue`: at most 32 tasks wait.
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Piscina } from 'piscina'
import { countedAnswer, iterationsOf, serve } from '../lib/serve.mjs'

const MAX_QUEUE = 32
const how = process.argv[2] ?? 'plain'
const threads = availableParallelism()
const pool = new Piscina({
  filename: fileURLToPath(new URL('../jobs/counted.mjs', import.meta.url)),
  minThreads: threads,
  maxThreads: threads,
  ...(how === 'queue' && { maxQueue: MAX_QUEUE })
})

/** @type {Record<string, import('fastify').RouteHandlerMethod>} */
const handlers = {
  plain: async (request) => countedAnswer(await pool.run(iterationsOf(request))),
  abort: async (request, reply) => {
    const controller = new AbortController()
    reply.raw.on('close', () => { if (!reply.raw.writableFinished) controller.abort() })
    return countedAnswer(await pool.run(iterationsOf(request), { signal: controller.signal }))
  },
  queue: async (request, reply) => {
    // The length is checked first, because an error thrown for each refusal would cost more than the refusal itself.
    if (pool.queueSize >= MAX_QUEUE) return reply.code(503).header('retry-after', '1').send({ error: 'overloaded' })
    return countedAnswer(await pool.run(iterationsOf(request)))
  }
}
const handler = handlers[how]
if (handler === undefined) throw new Error(`There is no handler named ${how}`)

/** @param {string} job */
const fileOf = (job) => ({ filename: fileURLToPath(new URL(`../jobs/${job}.mjs`, import.meta.url)) })
const [empty, nap] = [fileOf('identity'), fileOf('sleep')]

await serve((app) => {
  app.get('/work', handler)
  app.get('/empty', async () => ({ result: await pool.run(1, empty) }))
  app.get('/nap', async (_request, reply) => {
    if (pool.queueSize >= MAX_QUEUE) return reply.code(503).header('retry-after', '1').send({ error: 'overloaded' })
    return { result: await pool.run(10, nap) }
  })
})
