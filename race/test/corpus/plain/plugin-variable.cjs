// The racy program of bugs/plugin-variable.ts, as an application that knows no detector: CommonJS, a variable that a plugin closes over.
'use strict'
const { setTimeout: sleep } = require('node:timers/promises')
const fastify = require('fastify')

exports.build = function build () {
  const app = fastify()
  let currentEvent = null
  app.addHook('onRequest', async (request) => {
    currentEvent = { tenant: request.headers['x-tenant'] }
  })
  app.get('/bucket', async () => {
    await sleep(1) // asks for the region
    return { tenant: currentEvent.tenant }
  })
  return app
}
