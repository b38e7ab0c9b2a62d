// A cinema: the first free seat of a row is looked for, the card is charged, and the seat gets its holder.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'A booking finds a free seat, awaits the payment and takes the seat. Two guests pay for the same seat.'

interface Seat { number: number, holder?: string }

const charge = async (card: string): Promise<string> => {
  await sleep(1)
  return `receipt of ${card}`
}

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const seats: Seat[] = shared([{ number: 1 }, { number: 2 }, { number: 3 }], 'seats')
  app.post<{ Body: { guest: string } }>('/bookings', async ({ body: { guest } }, reply) => {
    const seat = seats.find((candidate) => candidate.holder === undefined)
    if (!seat) return reply.code(409).send({ error: 'sold out' })
    const receipt = await charge(guest)
    seat.holder = guest
    return { seat: seat.number, receipt }
  })
  app.get('/seats', async () => seats)
  return app
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const seats: Seat[] = shared([{ number: 1 }, { number: 2 }, { number: 3 }], 'seats')
  app.post<{ Body: { guest: string } }>('/bookings', async ({ body: { guest } }, reply) => {
    const seat = seats.find((candidate) => candidate.holder === undefined)
    if (!seat) return reply.code(409).send({ error: 'sold out' })
    seat.holder = guest
    const receipt = await charge(guest)
    return { seat: seat.number, receipt }
  })
  app.get('/seats', async () => seats)
  return app
}

export const { racy, fixed } = pair({
  name: 'unseen/seat-booking',
  source: 'pattern: check-then-act on an element of an array',
  requests: ['ann', 'ben'].map((guest) => ({ method: 'POST', url: '/bookings', payload: { guest } })),
  async invariant (app) {
    const seats = (await app.inject('/seats')).json<Seat[]>()
    assert.deepEqual(seats.map(({ holder }) => holder).filter(Boolean).sort(), ['ann', 'ben'])
  }
}, racyApp, fixedApp)
