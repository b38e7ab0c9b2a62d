// A leaderboard is kept sorted: the place of a score is looked for, the avatar is loaded, and the entry is inserted there.
import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'The index of a new score is computed before an await and used afterwards. Another score was inserted, and the board is out of order.'

interface Entry { player: string, score: number, avatar: string }

const avatars = new Table({ ann: 'a.png', ben: 'b.png', cat: 'c.png' })

const placeOf = (board: Entry[], score: number): number => {
  const index = board.findIndex((entry) => entry.score < score)
  return index === -1 ? board.length : index
}

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const board: Entry[] = shared([{ player: 'bot', score: 50, avatar: 'bot.png' }], 'board')
  app.post<{ Body: { player: string, score: number } }>('/scores', async ({ body: { player, score } }) => {
    const index = placeOf(board, score)
    const avatar = await avatars.find(player) ?? 'none.png'
    board.splice(index, 0, { player, score, avatar })
    return { rank: index + 1 }
  })
  app.get('/board', async () => board)
  return app
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const board: Entry[] = shared([{ player: 'bot', score: 50, avatar: 'bot.png' }], 'board')
  app.post<{ Body: { player: string, score: number } }>('/scores', async ({ body: { player, score } }) => {
    const avatar = await avatars.find(player) ?? 'none.png'
    const index = placeOf(board, score)
    board.splice(index, 0, { player, score, avatar })
    return { rank: index + 1 }
  })
  app.get('/board', async () => board)
  return app
}

export const { racy, fixed } = pair({
  name: 'unseen/leaderboard',
  source: 'pattern: index that is stale after an await',
  requests: [['ann', 70], ['ben', 90], ['cat', 20]].map(([player, score]) => ({ method: 'POST', url: '/scores', payload: { player, score } })),
  async invariant (app) {
    assert.deepEqual((await app.inject('/board')).json<Entry[]>().map(({ score }) => score), [90, 70, 50, 20])
  }
}, racyApp, fixedApp)
