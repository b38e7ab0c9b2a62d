import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  let balance = 100
  app.post('/withdraw', async (_request, reply) => {
    if (balance < 80) return reply.code(409).send()
    await sleep(5)                           // a query, a call of another service
    balance -= 80
    return { balance }
  })
  return app
}
