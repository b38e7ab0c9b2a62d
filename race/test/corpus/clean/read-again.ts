import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'The balance is checked once before the await, to refuse early, and again after it. The second check and the write are one step.'

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const budget = shared({ left: 50 }, 'budget')
  app.post<{ Body: { cost: number } }>('/ads', async ({ body: { cost } }, reply) => {
    if (budget.left < cost) return reply.code(402).send({ error: 'over budget' })
    await sleep(1) // renders the ad
    const { left } = budget
    if (left < cost) return reply.code(402).send({ error: 'over budget' })
    budget.left = left - cost
    return { left: budget.left }
  })
  app.get('/left', async () => budget.left)
  return app
}

export const program: Program = {
  name: 'clean/read-again',
  source: 'pattern: value read again after the await',
  build,
  requests: [30, 30, 20].map((cost) => ({ method: 'POST', url: '/ads', payload: { cost } })),
  async invariant (app) {
    assert.ok((await app.inject('/left')).json<number>() >= 0)
  }
}
