// An application of the shape of Fastify's official demo: `node app.js theirs` has @fastify/rate-limit, `node app.js ours` is what
// docs/migrate/fastify-rate-limit.md makes of it. Only the file in limits/ differs.
import autoload from '@fastify/autoload'
import Fastify from 'fastify'
import { fileURLToPath } from 'node:url'

const folder = (path) => fileURLToPath(new URL(path, import.meta.url))

const app = Fastify({ logger: true })
await app.register(autoload, { dir: folder('plugins') })
await app.register(autoload, { dir: folder(`limits/${process.argv[2]}`) })
app.register(autoload, { dir: folder('routes') })

app.setErrorHandler(async (error, request, reply) => {
  reply.code(error.statusCode ?? 500)
  return { message: reply.statusCode === 429 ? 'Rate limit exceeded' : error.message }
})
app.setNotFoundHandler({ preHandler: app.rateLimit({ max: 3, timeWindow: '1 hour' }) }, async (request, reply) => {
  reply.code(404)
  return { message: 'Not Found' }
})

await app.listen({ port: 0 })
process.once('SIGTERM', () => app.close())
