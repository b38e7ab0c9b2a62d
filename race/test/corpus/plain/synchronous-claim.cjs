// The program of clean/synchronous-claim.ts, as an application that knows no detector: CommonJS.
'use strict'
const { setTimeout: sleep } = require('node:timers/promises')
const fastify = require('fastify')

const claims = {}

exports.build = function build () {
  const app = fastify()
  app.post('/bounties/:bounty/claim/:user', async ({ params: { bounty, user } }, reply) => {
    if (claims[bounty]) return reply.code(409).send({ error: 'claimed' })
    claims[bounty] = user
    await sleep(1) // tells the team
    return { bounty, user: claims[bounty] }
  })
  return app
}
