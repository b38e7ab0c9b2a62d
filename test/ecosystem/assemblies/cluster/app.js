/** A service of two processes. The primary forwards SIGTERM, and ends when its workers have ended. */
import closeWithGrace from 'close-with-grace'
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import cluster from 'node:cluster'
import { jobs } from '../shared/jobs.js'
import { wait } from '../shared/wait.js'

if (cluster.isPrimary) {
  for (let i = 0; i < 2; i++) cluster.fork()
  process.on('SIGTERM', () => {
    for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGTERM')
  })
} else {
  const app = Fastify({ logger: true })
  await app.register(concurrency, { workers: { jobs, maxThreads: 1 } })
  app.get('/work', (request) => wait(request, request.query.ms))
  closeWithGrace({ delay: 10_000, logger: app.log }, ({ signal }) => app.lifecycle.shutdown(signal))
  await app.listen({ port: 0, host: '127.0.0.1' })
}
