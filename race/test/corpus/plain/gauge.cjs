// The program of clean/gauge.ts, as an application that knows no detector: CommonJS, an object and a variable.
'use strict'
const { setTimeout: sleep } = require('node:timers/promises')
const fastify = require('fastify')

exports.build = function build () {
  const app = fastify()
  const gauge = { inFlight: 0 }
  let highest = 0
  app.addHook('onRequest', async () => {
    gauge.inFlight++
    highest = Math.max(highest, gauge.inFlight)
  })
  app.addHook('onResponse', async () => { gauge.inFlight-- })
  app.get('/slow', async () => {
    await sleep(1)
    return { inFlight: gauge.inFlight, highest }
  })
  app.decorate('gauge', gauge)
  return app
}
