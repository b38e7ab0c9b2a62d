// The mean of ratings is kept with their number, so that the ratings need not be kept.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'A rating destructures the mean and the count, awaits a spam check, and assigns new ones. Ratings that overlap count once.'

interface Rating { mean: number, count: number }

const isSpam = async (stars: number): Promise<boolean> => {
  await sleep(1)
  return stars > 5
}

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const ratings = shared(new Map<string, Rating>([['p1', { mean: 0, count: 0 }]]), 'ratings')
  app.post<{ Params: { id: string }, Body: { stars: number } }>('/products/:id/ratings', async ({ params, body: { stars } }) => {
    const rating = ratings.get(params.id)!
    const { mean, count } = rating
    if (await isSpam(stars)) return { ignored: true }
    Object.assign(rating, { count: count + 1, mean: (mean * count + stars) / (count + 1) })
    return { ignored: false }
  })
  app.get<{ Params: { id: string } }>('/products/:id/ratings', async ({ params }) => ratings.get(params.id))
  return app
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const ratings = shared(new Map<string, Rating>([['p1', { mean: 0, count: 0 }]]), 'ratings')
  app.post<{ Params: { id: string }, Body: { stars: number } }>('/products/:id/ratings', async ({ params, body: { stars } }) => {
    if (await isSpam(stars)) return { ignored: true }
    const rating = ratings.get(params.id)!
    const { mean, count } = rating
    Object.assign(rating, { count: count + 1, mean: (mean * count + stars) / (count + 1) })
    return { ignored: false }
  })
  app.get<{ Params: { id: string } }>('/products/:id/ratings', async ({ params }) => ratings.get(params.id))
  return app
}

export const { racy, fixed } = pair({
  name: 'unseen/running-mean',
  source: 'pattern: running mean',
  requests: [1, 5, 3].map((stars) => ({ method: 'POST', url: '/products/p1/ratings', payload: { stars } })),
  async invariant (app) {
    assert.deepEqual((await app.inject('/products/p1/ratings')).json(), { mean: 3, count: 3 })
  }
}, racyApp, fixedApp)
