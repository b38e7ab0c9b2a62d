// Go's counter. `total += await …` reads the total before the await and writes it afterwards.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = '`stats.total += await priceOf(item)` reads the total before the await. Prices that other requests add in the meantime are lost.'

async function priceOf (item: string): Promise<number> {
  await sleep(1)
  return item.length
}

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const stats = shared({ total: 0 }, 'stats')
  app.post<{ Params: { item: string } }>('/buy/:item', async (request) => {
    stats.total += await priceOf(request.params.item)
    return 'bought'
  })
  app.get('/total', async () => stats.total)
  return app
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const stats = shared({ total: 0 }, 'stats')
  app.post<{ Params: { item: string } }>('/buy/:item', async (request) => {
    const price = await priceOf(request.params.item)
    stats.total += price
    return 'bought'
  })
  app.get('/total', async () => stats.total)
  return app
}

export const { racy, fixed } = pair({
  name: 'bugs/go-counter',
  source: 'Go: counter',
  requests: ['pen', 'book', 'lamp'].map((item) => ({ method: 'POST', url: `/buy/${item}` })),
  async invariant (app) {
    assert.equal((await app.inject('/total')).json(), 3 + 4 + 4)
  }
}, racyApp, fixedApp)
