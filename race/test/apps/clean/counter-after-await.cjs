'use strict'
const fastify = require('fastify')
const { setTimeout: wait } = require('timers/promises')

let served = 0
let bytes = 0n

module.exports.requests = ['/', '/', '/']
module.exports.build = function () {
  const app = fastify()
  app.get('/', async () => {
    await wait(1)
    served++
    bytes += 10n
    bytes++
    return { served, bytes: String(bytes) }
  })
  return app
}
