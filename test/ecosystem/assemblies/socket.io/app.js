/** Socket.IO beside Fastify's routes, on the same server. */
import closeWithGrace from 'close-with-grace'
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { Server } from 'socket.io'
import { jobs } from '../shared/jobs.js'
import { wait } from '../shared/wait.js'
import { watch } from '../shared/watch.js'

const app = Fastify({ logger: true })
watch(app)
await app.register(concurrency, { workers: { jobs, maxThreads: 2 } })
app.get('/work', (request) => wait(request, request.query.ms))

const io = new Server(app.server)
io.on('connection', (socket) => {
  app.log.info('work begins')
  socket.on('disconnect', () => app.log.info('work stopped'))
  socket.on('echo', (text, answer) => answer(text))
})
// Clients that poll are unknown to Fastify.
app.lifecycle.onShutdown(() => { io.disconnectSockets(true) })

closeWithGrace({ delay: 10_000, logger: app.log }, ({ signal }) => app.lifecycle.shutdown(signal))
await app.listen({ port: 0, host: '127.0.0.1' })
