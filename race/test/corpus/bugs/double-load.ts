// A cache helper getOrSet(): two requests for a missing key both load it, and the loads have a cost and a result of their own.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'getOrSet() looks into the cache, awaits the loader and stores its result. Two requests load the same key and get different reports.'

interface Report { user: string, serial: number }

function loader (): (user: string) => Promise<Report> {
  let serial = 0
  return async (user) => {
    serial++
    const report = { user, serial }
    await sleep(2) // a paid API
    return report
  }
}

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const load = loader()
  const cache = shared(new Map<string, Report>(), 'cache')

  async function getOrSet (key: string, factory: () => Promise<Report>): Promise<Report> {
    const cached = cache.get(key)
    if (cached) return cached
    const value = await factory()
    cache.set(key, value)
    return value
  }

  app.get<{ Params: { user: string } }>('/reports/:user', async ({ params: { user } }) => getOrSet(user, () => load(user)))
  return app
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const load = loader()
  const cache = shared(new Map<string, Promise<Report>>(), 'cache')

  async function getOrSet (key: string, factory: () => Promise<Report>): Promise<Report> {
    let pending = cache.get(key)
    if (!pending) {
      pending = factory()
      cache.set(key, pending)
      pending.catch(() => cache.delete(key))
    }
    return pending
  }

  app.get<{ Params: { user: string } }>('/reports/:user', async ({ params: { user } }) => getOrSet(user, () => load(user)))
  return app
}

export const { racy, fixed } = pair({
  name: 'bugs/double-load',
  source: 'JhaSourav07/commitpulse#4928',
  requests: [{ url: '/reports/ann' }, { url: '/reports/ann' }, { url: '/reports/ann' }],
  invariant (_app, responses) {
    const serials = responses.map((response) => response.json<Report>().serial)
    assert.deepEqual(serials, [1, 1, 1], 'one load serves all')
  }
}, racyApp, fixedApp)
