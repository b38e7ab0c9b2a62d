import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'The list of a room is created and extended in one step after the await. No request can replace the list of another one.'

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const rooms = shared(new Map<string, string[]>(), 'rooms')
  const listOf = (room: string): string[] => {
    if (!rooms.has(room)) rooms.set(room, [])
    return rooms.get(room)!
  }
  app.post<{ Params: { room: string }, Body: { text: string } }>('/rooms/:room', async ({ params, body }) => {
    await sleep(1) // moderates the text
    listOf(params.room).push(body.text)
    return 'sent'
  })
  app.get<{ Params: { room: string } }>('/rooms/:room', async ({ params }) => listOf(params.room))
  return app
}

export const program: Program = {
  name: 'clean/list-of-map',
  source: 'pattern: get or create in one step',
  build,
  requests: ['hi', 'ho', 'hu'].map((text) => ({ method: 'POST', url: '/rooms/lobby', payload: { text } })),
  async invariant (app) {
    assert.deepEqual((await app.inject('/rooms/lobby')).json<string[]>().sort(), ['hi', 'ho', 'hu'])
  }
}
