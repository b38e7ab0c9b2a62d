import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'A helper memoizes the promise, not the value, and so before anyone awaits it.'

function memoize<T> (cache: Map<string, Promise<T>>, load: (key: string) => Promise<T>): (key: string) => Promise<T> {
  return (key) => {
    let promise = cache.get(key)
    if (promise === undefined) {
      promise = load(key)
      cache.set(key, promise)
    }
    return promise
  }
}

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  let loads = 0
  const rate = memoize(shared(new Map<string, Promise<{ currency: string, load: number }>>(), 'rates'), async (currency) => {
    loads++
    const load = loads
    await sleep(1)
    return { currency, load }
  })
  app.get<{ Params: { currency: string } }>('/rates/:currency', async ({ params }) => rate(params.currency))
  app.get('/loads', async () => loads)
  return app
}

export const program: Program = {
  name: 'clean/memoized-promise',
  source: 'pattern: memoized promise',
  build,
  requests: ['eur', 'eur', 'usd'].map((currency) => ({ url: `/rates/${currency}` })),
  async invariant (app) {
    assert.equal((await app.inject('/loads')).json(), 2)
  }
}
