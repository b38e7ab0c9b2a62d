// The racy program of unseen/presence.ts, as an application that knows no detector: CommonJS, an array that is replaced.
'use strict'
const { setTimeout: sleep } = require('node:timers/promises')
const Fastify = require('fastify')

let online = ['ann', 'ben']

async function announce (text) {
  await sleep(1, text)
}

async function leave (user) {
  const remaining = online.filter((name) => name !== user)
  await announce(`${user} leaves`)
  online = remaining
}

module.exports.build = () => {
  const app = Fastify()
  app.delete('/online/:user', async ({ params: { user } }) => {
    await leave(user)
    return 'left'
  })
  app.post('/online/:user', async ({ params: { user } }) => {
    await announce(`${user} joins`)
    online.push(user)
    return 'joined'
  })
  app.get('/online', async () => online)
  return app
}
