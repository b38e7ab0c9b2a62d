import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'The limits are written at boot only. The list grows by synchronous pushes after a check of a limit that cannot change.'

interface Limits { titleLength: number, tags: number }

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const authors = new Table({ ann: 'Ann' })
  const limits: Limits = shared({ titleLength: 10, tags: 2 }, 'limits')
  const articles: Array<{ title: string, author: string }> = shared([], 'articles')
  app.post<{ Body: { title: string, author: string } }>('/articles', async ({ body: { title, author } }, reply) => {
    if (title.length > limits.titleLength) return reply.code(400).send({ error: 'the title is too long' })
    const name = await authors.find(author) ?? 'anonymous'
    articles.push({ title: title.slice(0, limits.titleLength), author: name })
    return reply.code(201).send({ author: name })
  })
  app.get('/articles', async () => articles)
  return app
}

export const program: Program = {
  name: 'clean/read-only-config',
  source: 'pattern: state that never changes',
  build,
  requests: [['Races', 'ann'], ['Locks', 'bob'], ['A very long title', 'ann']].map(([title, author]) => ({ method: 'POST', url: '/articles', payload: { title, author } })),
  async invariant (app) {
    assert.equal((await app.inject('/articles')).json<unknown[]>().length, 2)
  }
}
