import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import type { Program, Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'What a request needs is kept on the request, and no other request can see it.'

interface User { name: string, visits: number }
type WithUser = FastifyRequest & { user: User | null }

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const users = new Table({ a: 'Ann', b: 'Ben' })
  const seen = shared(new Set<string>(), 'seen')
  app.decorateRequest('user', null)
  app.addHook('preHandler', async (request) => {
    const id = String(request.headers['x-user'])
    const withUser = request as WithUser
    withUser.user = { name: await users.find(id) ?? 'nobody', visits: 0 }
    withUser.user.visits += 1
    seen.add(id)
  })
  app.get('/me', async (request) => {
    const { user } = request as WithUser
    const again = await users.find(String(request.headers['x-user']))
    user!.visits += 1
    return { ...user, again }
  })
  return app
}

export const program: Program = {
  name: 'clean/request-decorator',
  source: 'pattern: state of a request',
  build,
  requests: ['a', 'b'].map((id) => ({ url: '/me', headers: { 'x-user': id } })),
  invariant (_app, responses) {
    assert.deepEqual(responses.map((response) => response.json()), [{ name: 'Ann', visits: 2, again: 'Ann' }, { name: 'Ben', visits: 2, again: 'Ben' }])
  }
}
