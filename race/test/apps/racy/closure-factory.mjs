import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'

function createPool (size) {
  let free = size
  return {
    async borrow () {
      if (free === 0) throw new Error('empty')
      await wait(1)
      free = free - 1
      return free
    }
  }
}

export const requests = ['/borrow', '/borrow']

export function build () {
  const app = Fastify()
  const pool = createPool(1)
  app.get('/borrow', async (request, reply) => {
    try {
      return { left: await pool.borrow() }
    } catch {
      return reply.code(503).send()
    }
  })
  return app
}
