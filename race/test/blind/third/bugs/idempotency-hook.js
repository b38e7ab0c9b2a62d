// KanishJebaMathewM/Truxify#4006: a hook looks for the answer of an earlier request with the same key, and the answer is kept when it is sent.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const build = (isFixed) => () => {
  const app = Fastify()
  const answers = new Map()
  const locks = new Set()
  const orders = []

  app.addHook('preHandler', async (request, reply) => {
    const key = request.headers['x-idempotency-key']
    if (answers.has(key)) return reply.send(answers.get(key))
    if (isFixed) {
      if (locks.has(key)) return reply.code(409).send({ error: 'in progress' })
      locks.add(key)
    }
  })
  app.addHook('onSend', async (request, reply, payload) => {
    if (reply.statusCode === 200) answers.set(request.headers['x-idempotency-key'], payload)
    return payload
  })
  app.post('/orders', async () => {
    await sleep(2)
    orders.push({ escrow: 100 })
    return { number: orders.length }
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = [1, 2].map(() => ({ method: 'POST', url: '/orders', headers: { 'x-idempotency-key': 'k1' } }))
