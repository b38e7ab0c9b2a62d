const Fastify = require('fastify')
const { setImmediate: turn } = require('node:timers/promises')

const seats = { a1: null, a2: null }

exports.requests = ['ada', 'bob'].map((name) => ({ method: 'POST', url: '/seats/a1', payload: { name } }))
exports.build = () => {
  const app = Fastify()
  app.post('/seats/:seat', async (request, reply) => {
    const { seat } = request.params
    if (seats[seat] !== null) return reply.code(409).send()
    seats[seat] = request.body.name
    try {
      await turn()
      return { seat, name: seats[seat] }
    } catch (error) {
      seats[seat] = null
      throw error
    }
  })
  return app
}
