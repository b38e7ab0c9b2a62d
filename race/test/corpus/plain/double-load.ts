// The racy program of bugs/double-load.ts, as an application that knows no detector: a cache class over a map.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'

interface Report { user: string, serial: number }

const cache = new Map<string, Report>()
let serial = 0

async function load (user: string): Promise<Report> {
  serial++
  const report = { user, serial }
  await sleep(2) // a paid API
  return report
}

async function getOrSet (key: string, factory: () => Promise<Report>): Promise<Report> {
  const cached = cache.get(key)
  if (cached) return cached
  const value = await factory()
  cache.set(key, value)
  return value
}

export function build (): FastifyInstance {
  const app = Fastify()
  app.get<{ Params: { user: string } }>('/reports/:user', async ({ params: { user } }) => getOrSet(user, () => load(user)))
  return app
}
