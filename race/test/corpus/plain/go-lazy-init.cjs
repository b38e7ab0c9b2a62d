// The racy program of bugs/go-lazy-init.ts, as an application that knows no detector: CommonJS, state in a variable of the module.
'use strict'
const { setTimeout: sleep } = require('node:timers/promises')
const fastify = require('fastify')

const open = []
let connection = null

async function connect () {
  const opened = { id: open.length + 1 }
  open.push(opened)
  await sleep(1)
  return opened
}

async function getConnection () {
  if (!connection) {
    connection = await connect()
  }
  return connection
}

exports.build = function build () {
  const app = fastify()
  app.get('/rows', async () => ({ connection: (await getConnection()).id }))
  app.get('/open', async () => open.length)
  return app
}
