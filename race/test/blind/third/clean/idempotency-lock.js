// KanishJebaMathewM/Truxify#4006: a key is locked in the turn of the look-up, and unlocked when its answer is kept.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  const answers = new Map()
  const locks = new Set()

  app.post('/orders/:key', async ({ params: { key } }, reply) => {
    const known = answers.get(key)
    if (known) return known
    if (locks.has(key)) return reply.code(409).send({ error: 'in progress' })
    locks.add(key)
    try {
      await sleep(2)
      const answer = { order: key }
      answers.set(key, answer)
      return answer
    } finally {
      locks.delete(key)
    }
  })
  return app
}

export const requests = ['/orders/k1', '/orders/k1', '/orders/k2'].map((url) => ({ method: 'POST', url }))
