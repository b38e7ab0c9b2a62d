// coopernurse/node-pool#132, as of its version 3: a resource that is validated is taken out of the available ones first.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

class Pool {
  available = [{ id: 1, valid: true, uses: 0 }, { id: 2, valid: true, uses: 0 }]
  borrowed = new Set()

  async acquire () {
    while (this.available.length > 0) {
      const resource = this.available.shift()
      this.borrowed.add(resource)
      await sleep(1)
      if (resource.valid) return resource
      this.borrowed.delete(resource)
    }
    return null
  }

  release (resource) {
    if (this.borrowed.delete(resource)) this.available.push(resource)
  }
}

export function build () {
  const app = Fastify()
  const pool = new Pool()
  app.get('/work', async (request, reply) => {
    const resource = await pool.acquire()
    if (resource === null) return reply.code(503).send({ error: 'none left' })
    await sleep(2)
    resource.uses++
    pool.release(resource)
    return { done: true }
  })
  return app
}

export const requests = ['/work', '/work', '/work']
