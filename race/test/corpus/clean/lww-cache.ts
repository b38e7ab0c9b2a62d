import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'A cache with a time to live is marked `lww`: each forecast that is stored is a good one, whichever is stored last.'

interface Cached { forecast: string, until: number }

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  let calls = 0
  const cache = shared(new Map<string, Cached>(), 'cache', { lww: true })
  const forecastFor = async (city: string): Promise<string> => {
    const number = ++calls
    await sleep(1)
    return `${city}: sunny (${number})`
  }
  app.get<{ Params: { city: string } }>('/weather/:city', async ({ params: { city } }) => {
    const cached = cache.get(city)
    if (cached && cached.until > Date.now()) return { forecast: cached.forecast }
    const forecast = await forecastFor(city)
    cache.set(city, { forecast, until: Date.now() + 60_000 })
    return { forecast }
  })
  return app
}

export const program: Program = {
  name: 'clean/lww-cache',
  source: 'race.md: lww',
  build,
  requests: ['rome', 'rome', 'oslo'].map((city) => ({ url: `/weather/${city}` })),
  invariant (_app, responses) {
    for (const response of responses) assert.match(response.json<{ forecast: string }>().forecast, /^(rome|oslo): sunny/)
  }
}
