// A namespace and an enum: a seat is sold twice, because its state is set only after the payment.
// @ts-nocheck -- the project's own sources have no enums and namespaces
import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'

enum State { Free, Held, Sold }

namespace Hall {
  export const states: State[] = [State.Free, State.Free]
  export let revenue = 0

  export const isFree = (seat: number): boolean => states[seat] === State.Free

  export function sell (seat: number, price: number): void {
    states[seat] = State.Sold
    revenue += price
  }
}

export const requests = ['/seats/0', '/seats/0'].map((url) => ({ method: 'POST' as const, url }))

export function build () {
  const app = Fastify()
  app.post<{ Params: { seat: string } }>('/seats/:seat', async (request, reply) => {
    const seat = Number(request.params.seat)
    if (!Hall.isFree(seat)) return reply.code(409).send()
    await wait(2)
    Hall.sell(seat, 10)
    return { revenue: Hall.revenue }
  })
  return app
}
