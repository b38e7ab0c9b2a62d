/** tRPC over HTTP and over WebSockets. */
import websocket from '@fastify/websocket'
import { initTRPC } from '@trpc/server'
import { fastifyTRPCPlugin } from '@trpc/server/adapters/fastify'
import closeWithGrace from 'close-with-grace'
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { EventEmitter, on } from 'node:events'
import { jobs } from '../shared/jobs.js'
import { watch } from '../shared/watch.js'
import { work } from '../shared/work.js'

const { procedure, router } = initTRPC.context().create()

const appRouter = router({
  work: procedure
    .input((ms) => Number(ms))
    .query(({ ctx, input }) => work(ctx.req, input)),
  events: procedure.subscription(async function * ({ signal }) {
    app.log.info('work begins')
    try {
      yield 'first'
      for await (const [event] of on(new EventEmitter(), 'event', { signal })) yield event
    } finally {
      app.log.info('work stopped')
    }
  })
})

const app = Fastify({ logger: true, routerOptions: { maxParamLength: 5_000 } })
watch(app)
await app.register(concurrency, { workers: { jobs, maxThreads: 2 } })
await app.register(websocket)
await app.register(fastifyTRPCPlugin, {
  prefix: '/trpc',
  useWSS: true,
  trpcOptions: { router: appRouter, createContext: ({ req }) => ({ req }) }
})
closeWithGrace({ delay: 10_000, logger: app.log }, ({ signal }) => app.lifecycle.shutdown(signal))
await app.listen({ port: 0, host: '127.0.0.1' })
