import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'Members are added to a set after an await. Additions commute, and a second addition changes nothing.'

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const people = new Table({ p1: 'Ann', p2: 'Ben' })
  const groups = shared(new Map<string, Set<string>>([['staff', new Set()]]), 'groups')
  app.put<{ Params: { group: string, id: string } }>('/groups/:group/:id', async ({ params: { group, id } }, reply) => {
    const members = groups.get(group)
    if (!members) return reply.code(404).send({ error: 'no such group' })
    const name = await people.find(id)
    members.add(name!)
    return { members: members.size }
  })
  app.get('/staff', async () => [...groups.get('staff')!])
  return app
}

export const program: Program = {
  name: 'clean/add-to-set',
  source: 'pattern: operations that commute',
  build,
  requests: ['p1', 'p2', 'p1'].map((id) => ({ method: 'PUT', url: `/groups/staff/${id}` })),
  async invariant (app) {
    assert.deepEqual((await app.inject('/staff')).json<string[]>().sort(), ['Ann', 'Ben'])
  }
}
