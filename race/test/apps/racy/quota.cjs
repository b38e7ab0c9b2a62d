// A WeakMap keeps the quota of each account; it is read, and written after an await.
const Fastify = require('fastify')
const { setTimeout: wait } = require('node:timers/promises')

const accounts = { ada: { name: 'Ada' }, bob: { name: 'Bob' } }
const quotas = new WeakMap()

async function charge (account, amount) {
  const { left = 100, ...rest } = quotas.get(account) ?? {}
  if (left < amount) return false
  await wait(1)
  quotas.set(account, { ...rest, left: left - amount, at: Date.now() })
  return true
}

exports.requests = ['/ada', '/ada', '/bob'].map((url) => ({ method: 'POST', url, payload: { amount: 60 } }))

exports.build = function build () {
  const app = Fastify()
  app.post('/:name', async (request, reply) => {
    const charged = await charge(accounts[request.params.name], request.body.amount)
    return reply.code(charged ? 200 : 402).send({ left: quotas.get(accounts[request.params.name])?.left })
  })
  return app
}
