import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'The place in a sorted array is computed after the await, in the step that inserts there.'

interface Bid { bidder: string, amount: number }

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const bidders = new Table({ b1: 'Ann', b2: 'Ben', b3: 'Cat' })
  const bids: Bid[] = shared([], 'bids')
  app.post<{ Params: { id: string }, Body: { amount: number } }>('/bids/:id', async ({ params, body: { amount } }) => {
    const bidder = await bidders.find(params.id) ?? 'unknown'
    let place = bids.findIndex((bid) => bid.amount < amount)
    if (place < 0) place = bids.length
    bids.splice(place, 0, { bidder, amount })
    const verified = await bidders.find(params.id)
    return { bidder: verified }
  })
  app.get('/bids', async () => bids)
  return app
}

export const program: Program = {
  name: 'clean/sorted-insert',
  source: 'pattern: index computed after the await',
  build,
  requests: [['b1', 10], ['b2', 30], ['b3', 20]].map(([id, amount]) => ({ method: 'POST', url: `/bids/${id}`, payload: { amount } })),
  async invariant (app) {
    assert.deepEqual((await app.inject('/bids')).json<Bid[]>().map(({ amount }) => amount), [30, 20, 10])
  }
}
