// Go's shared map: several goroutines, here requests, change entries of one map.
import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'A list in a map is read, a tag is looked up, and a longer copy of the list is stored. A tag that another request added is lost.'

const names = new Table({ 1: 'news', 2: 'sport', 3: 'music' })

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const tags = shared(new Map<string, string[]>(), 'tags')
  app.put<{ Params: { user: string, tag: string } }>('/users/:user/tags/:tag', async (request) => {
    const { user, tag } = request.params
    const present = tags.get(user) ?? []
    const name = await names.find(tag)
    tags.set(user, [...present, name!])
    return 'added'
  })
  app.get<{ Params: { user: string } }>('/users/:user/tags', async (request) => tags.get(request.params.user))
  return app
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const tags = shared(new Map<string, string[]>(), 'tags')
  app.put<{ Params: { user: string, tag: string } }>('/users/:user/tags/:tag', async (request) => {
    const { user, tag } = request.params
    const name = await names.find(tag)
    tags.set(user, [...tags.get(user) ?? [], name!])
    return 'added'
  })
  app.get<{ Params: { user: string } }>('/users/:user/tags', async (request) => tags.get(request.params.user))
  return app
}

export const { racy, fixed } = pair({
  name: 'bugs/go-map',
  source: 'Go: shared map',
  requests: [1, 2, 3].map((tag) => ({ method: 'PUT', url: `/users/ann/tags/${tag}` })),
  async invariant (app) {
    assert.deepEqual((await app.inject('/users/ann/tags')).json<string[]>().sort(), ['music', 'news', 'sport'])
  }
}, racyApp, fixedApp)
