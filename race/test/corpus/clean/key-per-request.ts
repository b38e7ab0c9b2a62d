import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'Requests share a map, but each one reads and writes only the entry under its own id.'

interface Progress { step: number, of: number }

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const parts = new Table({ p1: 'one', p2: 'two' })
  const progress = shared(new Map<string, Progress>(), 'progress')
  app.post('/import', async (request) => {
    progress.set(request.id, { step: 0, of: 2 })
    for (const part of ['p1', 'p2']) {
      const before = progress.get(request.id)!
      await parts.find(part)
      progress.set(request.id, { ...before, step: before.step + 1 })
    }
    const { step } = progress.get(request.id)!
    progress.delete(request.id)
    return { step }
  })
  app.get('/progress', async () => progress.size)
  return app
}

export const program: Program = {
  name: 'clean/key-per-request',
  source: 'pattern: disjoint keys',
  build,
  requests: [{ method: 'POST', url: '/import' }, { method: 'POST', url: '/import' }],
  async invariant (app, responses) {
    assert.deepEqual(responses.map((response) => response.json()), [{ step: 2 }, { step: 2 }])
    assert.equal((await app.inject('/progress')).json(), 0)
  }
}
