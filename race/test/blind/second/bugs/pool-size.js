// neo4j/neo4j-javascript-driver#1216: a connection counts against the maximum only after it was validated.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

class Pool {
  idle = []
  inUse = 0
  constructor (max, isFixed) { this.max = max; this.isFixed = isFixed }

  async validate (connection) {
    await sleep(2)
    return connection.open
  }

  async acquire () {
    if (this.inUse >= this.max) return undefined
    if (this.isFixed) this.inUse++
    const connection = this.idle.pop() ?? { open: true }
    if (!await this.validate(connection)) {
      if (this.isFixed) this.inUse--
      return undefined
    }
    if (!this.isFixed) this.inUse++
    return connection
  }

  release (connection) {
    this.inUse--
    this.idle.push(connection)
  }
}

const build = (isFixed) => () => {
  const app = Fastify()
  const pool = new Pool(1, isFixed)
  app.get('/run', async (request, reply) => {
    const connection = await pool.acquire()
    if (connection === undefined) return reply.code(503).send({ error: 'pool exhausted' })
    const isOver = pool.inUse > pool.max
    await sleep(4)
    pool.release(connection)
    return { isOver }
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = ['/run', '/run']
