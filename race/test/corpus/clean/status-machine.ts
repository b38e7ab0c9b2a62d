import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'An order moves through states. The request that moves it to `shipping` in one step owns it until it is `shipped`.'

type Status = 'paid' | 'shipping' | 'shipped'
interface Order { status: Status, parcels: string[] }

class Orders {
  readonly byId: Record<string, Order>

  constructor (byId: Record<string, Order>) {
    this.byId = byId
  }

  transition (id: string, from: Status, to: Status): boolean {
    const order = this.byId[id]
    if (order?.status !== from) return false
    order.status = to
    return true
  }

  async ship (id: string): Promise<boolean> {
    if (!this.transition(id, 'paid', 'shipping')) return false
    const order = this.byId[id]!
    await sleep(1) // prints the label
    order.parcels.push(`label ${order.parcels.length + 1}`)
    order.status = 'shipped'
    return true
  }
}

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const orders = new Orders(shared({ o1: { status: 'paid', parcels: [] }, o2: { status: 'paid', parcels: [] } }, 'orders'))
  app.post<{ Params: { id: string } }>('/orders/:id/ship', async ({ params }, reply) => {
    const shipped = await orders.ship(params.id)
    return reply.code(shipped ? 200 : 409).send({ shipped })
  })
  app.get('/orders', async () => orders.byId)
  return app
}

export const program: Program = {
  name: 'clean/status-machine',
  source: 'pattern: ownership by state',
  build,
  requests: ['o1', 'o2', 'o1'].map((id) => ({ method: 'POST', url: `/orders/${id}/ship` })),
  async invariant (app) {
    const shipped = { status: 'shipped', parcels: ['label 1'] }
    assert.deepEqual((await app.inject('/orders')).json(), { o1: shipped, o2: shipped })
  }
}
