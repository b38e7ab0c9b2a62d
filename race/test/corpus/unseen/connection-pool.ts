// A pool opens at most two connections. It counts a connection when it is open.
import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'A pool compares the number of its connections with the limit, awaits a new connection, and counts it. The limit is exceeded.'

class Connection extends EventEmitter {
  connect (): this {
    setTimeout(() => this.emit('ready'), 1)
    return this
  }
}

interface Size { open: number, limit: number }

async function connectLate (size: Size): Promise<boolean> {
  if (size.open >= size.limit) return false
  await once(new Connection().connect(), 'ready')
  size.open++
  return true
}

async function connectCounted (size: Size): Promise<boolean> {
  if (size.open >= size.limit) return false
  size.open++
  try {
    await once(new Connection().connect(), 'ready')
  } catch (error) {
    size.open--
    throw error
  }
  return true
}

const build = (connect: typeof connectLate) => ({ shared }: Tools): FastifyInstance => {
  const app = Fastify()
  const size: Size = shared({ open: 0, limit: 2 }, 'size')
  app.get('/query', async (_request, reply) => {
    if (!await connect(size)) return reply.code(503).send({ error: 'the pool is exhausted' })
    return { rows: [] }
  })
  app.get('/open', async () => size.open)
  return app
}

export const { racy, fixed } = pair({
  name: 'unseen/connection-pool',
  source: 'pattern: limit of a pool',
  requests: Array.from({ length: 4 }, () => ({ url: '/query' })),
  async invariant (app) {
    assert.equal((await app.inject('/open')).json(), 2)
  }
}, build(connectLate), build(connectCounted))
