// Our suite with default options and two threads, and jobs that sleep. The key of a job is its client's address.
import concurrency from 'fastify-concurrency'
import { jobs } from '../jobs.mjs'
import { msOf, serve } from '../lib/serve.mjs'

await serve(async (app) => {
  await app.register(concurrency, { workers: { jobs, maxThreads: 2 } })
  /** @type {Record<string, [job: 'sleep' | 'cappedSleep' | 'nap', priority: 'high' | 'normal' | 'low']>} */
  const routes = {
    work: ['sleep', 'normal'],
    urgent: ['sleep', 'high'],
    later: ['sleep', 'low'],
    light: ['nap', 'normal'],
    report: ['cappedSleep', 'normal']
  }
  for (const [route, [job, priority]] of Object.entries(routes)) {
    app.get(`/${route}`, async (request) => {
      await app.workers.run(job, msOf(request), { priority })
      return 'done'
    })
  }
})
