// The racy program of bugs/third-player.ts, as an application that knows no detector: nested arrays and objects.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const games = [{ id: 1, players: [] }]

const profile = async (user) => {
  await sleep(1)
  return { name: user }
}

export async function build () {
  const app = Fastify()
  app.register(async (child) => {
    child.post('/:id/players', async (request, reply) => {
      const game = games.find(({ id }) => id === Number(request.params.id))
      if (!game) return reply.code(404).send({ error: 'no such game' })
      if (game.players.length >= 2) return reply.code(409).send({ error: 'the game is full' })
      const { name } = await profile(request.body.user)
      game.players.push({ name })
      return reply.code(201).send({ seat: game.players.length })
    })
  }, { prefix: '/games' })
  app.get('/games', async () => games)
  return app
}
