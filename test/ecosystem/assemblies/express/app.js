/** Fastify with Express inside: its middleware runs before each of Fastify's routes, and some routes are its own. */
import express from '@fastify/express'
import closeWithGrace from 'close-with-grace'
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { Readable } from 'node:stream'
import { jobs } from '../shared/jobs.js'
import { wait } from '../shared/wait.js'
import { watch } from '../shared/watch.js'

const app = Fastify({ logger: true })
watch(app)
const suite = app.register(concurrency, { workers: { jobs, maxThreads: 2 } })
if (process.argv[2] === 'awaited') await suite
await app.register(express)
app.use((_request, response, next) => {
  response.setHeader('x-express', 'yes')
  next()
})
app.use('/express', (request, response) => {
  app.log.info('work begins')
  setTimeout(() => response.end('done'), Number(new URL(request.url, 'http://x').searchParams.get('ms')))
})

app.get('/work', (request) => wait(request, request.query.ms))

app.get('/stream', (request) => Readable.from((async function * () {
  yield 'begun, '
  try {
    yield await wait(request, request.query.ms)
  } catch {}
})()))

closeWithGrace({ delay: 10_000, logger: app.log }, ({ signal }) => app.lifecycle.shutdown(signal))
await app.listen({ port: 0, host: '127.0.0.1' })
