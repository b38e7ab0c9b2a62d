import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'A change is saved in the database, and then the entry of the cache is deleted. Writers never put anything into the cache.'

function build ({ shared, locks }: Tools): FastifyInstance {
  const app = Fastify()
  const users = new Table({ u1: 'Ann' })
  const cache = shared(new Map<string, string>(), 'cache')
  app.get<{ Params: { id: string } }>('/users/:id', async ({ params: { id } }) => locks.mutex(id, async () => {
    const cached = cache.get(id)
    if (cached !== undefined) return { name: cached }
    const name = await users.find(id) ?? 'nobody'
    cache.set(id, name)
    return { name }
  }))
  app.put<{ Params: { id: string }, Body: { name: string } }>('/users/:id', async ({ params: { id }, body: { name } }) => locks.mutex(id, async () => {
    await users.save(id, name)
    cache.delete(id)
    return { name }
  }))
  return app
}

export const program: Program = {
  name: 'clean/invalidate-after-write',
  source: 'pattern: cache invalidation',
  build,
  requests: [{ url: '/users/u1' }, { method: 'PUT', url: '/users/u1', payload: { name: 'Anna' } }, { url: '/users/u1' }],
  async invariant (app) {
    assert.deepEqual((await app.inject('/users/u1')).json(), { name: 'Anna' })
  }
}
