import { test } from 'node:test'
import type { FastifyInstance } from 'fastify'
import Fastify from 'fastify'
import type {} from 'fastify-concurrency/locks'
declare const app: FastifyInstance
declare const sessions: { load: (id: string) => Promise<{ visits: number }> }
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { explore } from 'fastify-concurrency-race'

function build () {
  const app = Fastify()
  let balance = 100
  app.get('/withdraw', async (_request, reply) => {
    await sleep(5)
    if (balance < 80) return reply.code(409).send()
    await sleep(5)
    balance -= 80
    return { balance }
  })
  return app
}

test('nobody withdraws more than there is', async () => {
  await explore(build, {
    requests: ['/withdraw', '/withdraw'],
    seeds: 100,
    invariant: (_app, responses) => assert.equal(responses.filter(({ statusCode }) => statusCode === 200).length, 1)
  })                                       // rejects: FC_ERR_EXPLORE, "With seed 2: …"
})
export {}
