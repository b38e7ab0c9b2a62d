// simstudioai/sim#5991: a join asks for the current room across an await, and then leaves the room that a newer join has entered.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const build = (isFixed) => () => {
  const app = Fastify()
  const sockets = { s1: { room: 'lobby', generation: 0 } }
  const members = { lobby: new Set(['s1']), a: new Set(), b: new Set() }
  const authorize = async (table) => sleep(table === 'a' ? 3 : 1)

  app.post('/join/:table', async ({ params: { table } }, reply) => {
    const socket = sockets.s1
    const attempt = ++socket.generation
    await authorize(table)
    if (isFixed && attempt !== socket.generation) return reply.code(409).send({ error: 'superseded' })
    members[socket.room].delete('s1')
    await sleep(isFixed ? 0 : 1)
    if (isFixed && attempt !== socket.generation) return reply.code(409).send({ error: 'superseded' })
    members[table].add('s1')
    socket.room = table
    return { joined: table }
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = ['/join/a', '/join/b'].map((url) => ({ method: 'POST', url }))
