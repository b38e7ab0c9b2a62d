// The program of clean/guarded-flag.ts, as an application that knows no detector: variables of the module.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'

let running = false
let runs = 0

export function build (): FastifyInstance {
  const app = Fastify()
  app.post('/sync', async (_request, reply) => {
    if (running) return reply.code(409).send({ error: 'a synchronisation is running' })
    running = true
    try {
      await sleep(1)
      runs++
      return { runs }
    } finally {
      running = false
    }
  })
  app.get('/sync', async () => ({ running, runs }))
  return app
}
