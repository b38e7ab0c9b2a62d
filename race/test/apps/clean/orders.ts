// A namespace, an enum and a const enum: each transition is checked and made in one turn.
// @ts-nocheck -- the project's own sources have no enums and namespaces
import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'

enum Status { New = 'new', Paying = 'paying', Paid = 'paid' }
const enum Limit { Orders = 100 }

namespace Orders {
  interface Order { id: number, status: Status, history: Status[] }
  const all = new Map<number, Order>()
  export let last = 0

  export function create (): Order {
    if (all.size >= Limit.Orders) throw new Error('full')
    const order: Order = { id: ++last, status: Status.New, history: [] }
    all.set(order.id, order)
    return order
  }

  export function move (id: number, from: Status, to: Status): boolean {
    const order = all.get(id)
    if (order?.status !== from) return false
    order.history.push(order.status)
    order.status = to
    return true
  }

  export namespace Report {
    export const statuses = (): string[] => [...all.values()].map(({ status }) => status)
  }
}

Orders.create()

export const requests = ['/orders/1/pay', '/orders/1/pay', '/orders', '/orders'].map((url) => ({ method: 'POST' as const, url }))

export function build () {
  const app = Fastify()
  app.post('/orders', async () => {
    await wait(1)
    const { id } = Orders.create()
    return { id, last: Orders.last, names: Object.keys(Status).length }
  })
  app.post<{ Params: { id: string } }>('/orders/:id/pay', async ({ params: { id } }) => {
    if (!Orders.move(Number(id), Status.New, Status.Paying)) return { status: 'already' }
    await wait(2)
    return { moved: Orders.move(Number(id), Status.Paying, Status.Paid), statuses: Orders.Report.statuses() }
  })
  return app
}
