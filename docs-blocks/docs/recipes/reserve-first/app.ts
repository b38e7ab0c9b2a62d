// app.ts
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'

const app = Fastify()
await app.register(concurrency, { tasks: { concurrency: 1, maxQueue: 1 } })   // tiny, to show a refusal

const orders: string[] = []

app.post('/orders', async (request, reply) => {
  const place = app.tasks.reserve()                        // no room: 503 with Retry-After, before anything is written
  try {
    orders.push(request.id)                                // in a real service: a transaction
    place.submit(`confirm:${request.id}`, async ({ signal }) => { await sleep(5_000, undefined, { signal }) })
    return await reply.code(202).send({ orders: orders.length })
  } finally {
    place.release()                                        // gives back a place that was not used
  }
})

await app.listen({ port: 3000 })
