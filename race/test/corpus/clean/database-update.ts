import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'The database adds in one statement. Memory holds only the time of the last change, which is overwritten without being read.'

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const views = new Table<number>()
  const meta = shared({ changed: new Map<string, string>() }, 'meta')
  app.post<{ Params: { page: string } }>('/view/:page', async ({ params: { page } }, reply) => {
    const count = await views.update(page, (before = 0) => before + 1)
    meta.changed.set(page, new Date().toISOString())
    return reply.send({ count })
  })
  app.get<{ Params: { page: string } }>('/view/:page', async ({ params: { page } }) => ({ count: await views.find(page), changed: meta.changed.get(page) }))
  return app
}

export const program: Program = {
  name: 'clean/database-update',
  source: 'pattern: the database does it',
  build,
  requests: [{ method: 'POST', url: '/view/home' }, { method: 'POST', url: '/view/home' }, { url: '/view/home' }],
  invariant (_app, [first, second]) {
    const counts = [first, second].map((response) => response!.json<{ count: number }>().count)
    assert.deepEqual(counts.sort(), [1, 2])
  }
}
