// app.ts
import { setTimeout as sleep } from 'node:timers/promises'
import closeWithGrace from 'close-with-grace'
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'

const app = Fastify()
await app.register(concurrency, { lifecycle: { readyPath: '/ready', livePath: '/live' } })

app.post('/orders', async (request, reply) => {
  app.tasks.submit(`order:${request.id}`, async () => { await sleep(500) })   // it will be finished
  return reply.code(202).send({ accepted: true })
})

// close-with-grace ends the process after its delay, whatever is going on: keep the delay above lifecycle's timeout + grace.
closeWithGrace({ delay: 10_000, logger: app.log }, async ({ signal, err }) => {
  if (err !== undefined) app.log.fatal({ err }, 'uncaught error')
  const report = await app.lifecycle.shutdown(signal ?? err?.message)
  console.log(report)
})

await app.listen({ port: 3000 })
