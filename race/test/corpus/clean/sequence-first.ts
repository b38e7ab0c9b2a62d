import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'An order number is taken with ++ before the await. A number may be skipped, but none is used twice.'

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const orders = new Table<{ item: string }>()
  const counter = shared({ last: 1000 }, 'counter')
  app.post<{ Body: { item: string } }>('/orders', async ({ body }, reply) => {
    const number = ++counter.last
    await orders.save(String(number), { item: body.item })
    return reply.code(201).send({ number, newest: number === counter.last })
  })
  return app
}

export const program: Program = {
  name: 'clean/sequence-first',
  source: 'pattern: sequence number',
  build,
  requests: ['a', 'b', 'c'].map((item) => ({ method: 'POST', url: '/orders', payload: { item } })),
  invariant (_app, responses) {
    assert.deepEqual(responses.map((response) => response.json<{ number: number }>().number).sort(), [1001, 1002, 1003])
  }
}
