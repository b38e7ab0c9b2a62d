// Maps within a map, on a decorator: what a fan-out cost is added to what was used before it.
import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'

interface Tenants { usage: Map<string, Map<string, number>> }

declare module 'fastify' {
  interface FastifyInstance { tenants: Tenants }
}

const cost = async (unit: string): Promise<number> => wait(unit.length, unit.length)

export const requests = ['/acme/ada', '/acme/ada'].map((url) => ({ method: 'POST' as const, url, payload: { units: ['a', 'bb', 'ccc'] } }))

export function build () {
  const app = Fastify()
  app.decorate('tenants', { usage: new Map() })
  app.post<{ Params: { tenant: string, user: string }, Body: { units: string[] } }>('/:tenant/:user', async ({ params: { tenant, user }, body: { units } }) => {
    const users = app.tenants.usage.get(tenant) ?? new Map<string, number>()
    const used = users.get(user) ?? 0
    const costs = await Promise.all(units.map(cost))
    users.set(user, costs.reduce((sum, each) => sum + each, used))
    app.tenants.usage.set(tenant, users)
    return Object.fromEntries(users)
  })
  return app
}
