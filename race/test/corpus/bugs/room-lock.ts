// A set of locked rooms: a request waits until its room is not in the set, does something else first, and then adds it.
import assert from 'node:assert/strict'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'A request checks that a room is not locked, awaits a connection, and locks the room. Two requests are in the room at once.'

interface World { locked: Set<string>, inside: number, most: number }

const newWorld = (locked: Set<string>): World => ({ locked, inside: 0, most: 0 })

async function visit (world: World): Promise<void> {
  world.inside++
  world.most = Math.max(world.most, world.inside)
  await sleep(1)
  world.inside--
}

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const world = newWorld(shared(new Set<string>(), 'locked'))
  app.post<{ Params: { room: string } }>('/rooms/:room/join', async ({ params: { room } }) => {
    while (world.locked.has(room)) await nextTurn()
    await sleep(1) // connects to the back end of the room
    world.locked.add(room)
    try {
      await visit(world)
    } finally {
      world.locked.delete(room)
    }
    return { most: world.most }
  })
  app.get('/most', async () => world.most)
  return app
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const world = newWorld(shared(new Set<string>(), 'locked'))
  app.post<{ Params: { room: string } }>('/rooms/:room/join', async ({ params: { room } }) => {
    await sleep(1) // connects to the back end of the room
    while (world.locked.has(room)) await nextTurn()
    world.locked.add(room)
    try {
      await visit(world)
    } finally {
      world.locked.delete(room)
    }
    return { most: world.most }
  })
  app.get('/most', async () => world.most)
  return app
}

export const { racy, fixed } = pair({
  name: 'bugs/room-lock',
  source: 'workadventure/workadventure#5591',
  requests: Array.from({ length: 3 }, () => ({ method: 'POST', url: '/rooms/lobby/join' })),
  async invariant (app) {
    assert.equal((await app.inject('/most')).json(), 1, 'one visitor at a time')
  }
}, racyApp, fixedApp)
