import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'A request loads in parallel and collects in variables of its own. The shared totals change in one step at the end.'

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const prices = new Table({ pen: 2, book: 9, lamp: 30 })
  const totals = shared({ baskets: 0, amount: 0 }, 'totals')
  app.post<{ Body: string[] }>('/baskets', async ({ body }) => {
    let sum = 0
    const lines: Record<string, number> = {}
    await Promise.all(body.map(async (sku) => {
      const price = await prices.find(sku) ?? 0
      sum += price
      lines[sku] = (lines[sku] ?? 0) + price
    }))
    totals.baskets += 1
    totals.amount += sum
    return lines
  })
  app.get('/totals', async () => totals)
  return app
}

export const program: Program = {
  name: 'clean/parallel-in-request',
  source: 'pattern: state of a request',
  build,
  requests: [{ method: 'POST', url: '/baskets', payload: ['pen', 'pen', 'book'] }, { method: 'POST', url: '/baskets', payload: ['lamp', 'pen'] }],
  async invariant (app) {
    assert.deepEqual((await app.inject('/totals')).json(), { baskets: 2, amount: 45 })
  }
}
