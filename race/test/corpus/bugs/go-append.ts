// Go's append: a slice, here an array, is replaced by a longer copy that was begun before an await.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = '`state.items = [...state.items, await enrich(item)]` copies the items before the await. Items that other requests append are lost.'

interface Item { id: number, label: string }

const enrich = async (id: number): Promise<Item> => sleep(1, { id, label: `item ${id}` })

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const state = shared({ items: [] as Item[] }, 'state')
  app.post<{ Body: { id: number } }>('/items', async ({ body }, reply) => {
    state.items = [...state.items, await enrich(body.id)]
    return reply.code(201).send()
  })
  app.get('/items', async () => state.items)
  return app
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const state = shared({ items: [] as Item[] }, 'state')
  app.post<{ Body: { id: number } }>('/items', async ({ body }, reply) => {
    const item = await enrich(body.id)
    state.items = [...state.items, item]
    return reply.code(201).send()
  })
  app.get('/items', async () => state.items)
  return app
}

export const { racy, fixed } = pair({
  name: 'bugs/go-append',
  source: 'Go: append',
  requests: [1, 2, 3].map((id) => ({ method: 'POST', url: '/items', payload: { id } })),
  async invariant (app) {
    assert.deepEqual((await app.inject('/items')).json<Item[]>().map(({ id }) => id).sort(), [1, 2, 3])
  }
}, racyApp, fixedApp)
