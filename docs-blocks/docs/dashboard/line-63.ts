import { timingSafeEqual } from 'node:crypto'
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'

const expected = Buffer.from(`Basic ${Buffer.from(`operator:${process.env['DASHBOARD_PASSWORD']}`).toString('base64')}`)

const service = Fastify()
await service.register(concurrency, {
  dashboard: {
    authorize (request, reply) {
      const given = Buffer.from(request.headers.authorization ?? '')
      if (given.length === expected.length && timingSafeEqual(given, expected)) return true
      reply.header('www-authenticate', 'Basic realm="dashboard"')
      throw Object.assign(new Error('Log in, please'), { statusCode: 401 })
    }
  }
})
export {}
