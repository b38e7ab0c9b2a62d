// A game for two: the number of players is checked, the profile of the next player is loaded, and the player joins.
import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'A game has room for two. A request checks the number of players, awaits a profile, and adds the player: a third one joins.'

interface Player { name: string }
interface Game { id: number, players: Player[] }

const profiles = new Table<Player>({ ann: { name: 'Ann' }, ben: { name: 'Ben' }, cat: { name: 'Cat' } })

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const games: Game[] = shared([{ id: 1, players: [] }], 'games')
  app.post<{ Params: { id: string }, Body: { user: string } }>('/games/:id/players', async (request, reply) => {
    const game = games.find(({ id }) => id === Number(request.params.id))
    if (!game) return reply.code(404).send({ error: 'no such game' })
    if (game.players.length >= 2) return reply.code(409).send({ error: 'the game is full' })
    const player = await profiles.find(request.body.user)
    game.players.push({ name: player!.name })
    return reply.code(201).send({ seat: game.players.length })
  })
  app.get('/games', async () => games)
  return app
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const games: Game[] = shared([{ id: 1, players: [] }], 'games')
  app.post<{ Params: { id: string }, Body: { user: string } }>('/games/:id/players', async (request, reply) => {
    const player = await profiles.find(request.body.user)
    const game = games.find(({ id }) => id === Number(request.params.id))
    if (!game) return reply.code(404).send({ error: 'no such game' })
    if (game.players.length >= 2) return reply.code(409).send({ error: 'the game is full' })
    game.players.push({ name: player!.name })
    return reply.code(201).send({ seat: game.players.length })
  })
  app.get('/games', async () => games)
  return app
}

export const { racy, fixed } = pair({
  name: 'bugs/third-player',
  source: 'cuttle-cards/cuttle#785',
  requests: ['ann', 'ben', 'cat'].map((user) => ({ method: 'POST', url: '/games/1/players', payload: { user } })),
  async invariant (app) {
    const [game] = (await app.inject('/games')).json<Game[]>()
    assert.equal(game?.players.length, 2)
  }
}, racyApp, fixedApp)
