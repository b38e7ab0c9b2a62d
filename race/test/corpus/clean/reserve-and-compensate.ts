import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'Tickets are reserved before the payment, and given back by an addition if the payment fails.'

const charge = async (card: string): Promise<void> => {
  await sleep(1)
  if (card === 'stolen') throw new Error('declined')
}

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const event = shared({ left: 2, sold: 0 }, 'event')
  app.post<{ Params: { card: string } }>('/tickets/:card', async ({ params: { card } }, reply) => {
    if (event.left === 0) return reply.code(409).send({ error: 'sold out' })
    event.left -= 1
    try {
      await charge(card)
    } catch {
      event.left += 1
      return reply.code(402).send({ error: 'declined' })
    }
    event.sold += 1
    return { sold: event.sold }
  })
  app.get('/event', async () => event)
  return app
}

export const program: Program = {
  name: 'clean/reserve-and-compensate',
  source: 'pattern: reserve, then compensate',
  build,
  requests: ['good', 'stolen', 'fine', 'gold'].map((card) => ({ method: 'POST', url: `/tickets/${card}` })),
  async invariant (app) {
    const { left, sold } = (await app.inject('/event')).json<{ left: number, sold: number }>()
    assert.equal(left + sold, 2)
  }
}
