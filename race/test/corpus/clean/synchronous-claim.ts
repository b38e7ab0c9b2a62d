import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'The check and the claim stand in one synchronous step before the first await.'

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const claims = shared(new Map<string, string>(), 'claims')
  app.post<{ Params: { bounty: string, user: string } }>('/bounties/:bounty/claim/:user', async ({ params: { bounty, user } }, reply) => {
    if (claims.has(bounty)) return reply.code(409).send({ error: 'claimed' })
    claims.set(bounty, user)
    await sleep(1) // tells the team
    return { bounty, user: claims.get(bounty) }
  })
  return app
}

export const program: Program = {
  name: 'clean/synchronous-claim',
  source: 'cursor-boston#107',
  build,
  requests: ['ann', 'ben', 'cat'].map((user) => ({ method: 'POST', url: `/bounties/b1/claim/${user}` })),
  invariant (_app, responses) {
    assert.deepEqual(responses.map(({ statusCode }) => statusCode).sort(), [200, 409, 409])
  }
}
