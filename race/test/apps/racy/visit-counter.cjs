'use strict'
const fastify = require('fastify')
const { setTimeout: wait } = require('timers/promises')

let visits = 0

module.exports.requests = ['/visit', '/visit', '/visit']
module.exports.build = function () {
  const app = fastify()
  app.get('/visit', async () => {
    const current = visits
    await wait(2)
    visits = current + 1
    return { visits }
  })
  return app
}
