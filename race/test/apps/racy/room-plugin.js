import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'

class Room {
  constructor (name, seats) {
    this.name = name
    this.seats = seats
    this.guests = []
  }

  get isFull () {
    return this.guests.length >= this.seats
  }
}

async function rooms (app) {
  const rooms = new Map()
  rooms.set('blue', new Room('blue', 1))

  app.post('/rooms/:name/guests', async (request, reply) => {
    const room = rooms.get(request.params.name)
    if (!room) return reply.code(404).send()
    if (room.isFull) return reply.code(409).send()
    await wait(2)
    room.guests.push(request.body.guest)
    return room.guests
  })
}

export const requests = ['ada', 'bob'].map((guest) => ({ method: 'POST', url: '/rooms/blue/guests', payload: { guest } }))

export function build () {
  const app = Fastify()
  app.register(rooms)
  return app
}
