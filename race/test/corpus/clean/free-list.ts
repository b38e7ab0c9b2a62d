import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'A connection is popped off the free list before the await and pushed back afterwards. A request owns what it has popped.'

interface Connection { id: number, queries: number }

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const free: Connection[] = shared([{ id: 1, queries: 0 }, { id: 2, queries: 0 }], 'free')
  app.get('/query', async (_request, reply) => {
    const connection = free.pop()
    if (!connection) return reply.code(503).send({ error: 'no connection is free' })
    const { queries } = connection
    try {
      await sleep(1)
      connection.queries = queries + 1
      return { connection: connection.id }
    } finally {
      free.push(connection)
    }
  })
  app.get('/free', async () => free)
  return app
}

export const program: Program = {
  name: 'clean/free-list',
  source: 'pattern: ownership',
  build,
  requests: Array.from({ length: 3 }, () => ({ url: '/query' })),
  async invariant (app, responses) {
    const free = (await app.inject('/free')).json<Connection[]>()
    const answered = responses.filter(({ statusCode }) => statusCode === 200).length
    assert.deepEqual([free.length, free[0]!.queries + free[1]!.queries], [2, answered])
  }
}
