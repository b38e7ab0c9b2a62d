import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'The size of a set tells in one step whether an id was new. An id whose work failed is deleted, so that a retry may succeed.'

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const delivered: string[] = []
  const seen = shared(new Set<string>(), 'seen')
  const isNew = (id: string): boolean => {
    const { size } = seen
    return seen.add(id).size > size
  }
  app.post<{ Params: { id: string } }>('/mail/:id', async ({ params: { id } }, reply) => {
    if (!isNew(id)) return reply.code(200).send({ duplicate: true })
    try {
      await sleep(1)
      delivered.push(id)
      return { duplicate: false }
    } catch (error) {
      seen.delete(id)
      throw error
    }
  })
  app.get('/delivered', async () => delivered)
  return app
}

export const program: Program = {
  name: 'clean/dedupe-first',
  source: 'pattern: dedupe set, filled first',
  build,
  requests: ['m1', 'm2', 'm1'].map((id) => ({ method: 'POST', url: `/mail/${id}` })),
  async invariant (app) {
    assert.deepEqual((await app.inject('/delivered')).json<string[]>().sort(), ['m1', 'm2'])
  }
}
