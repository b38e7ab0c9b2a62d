/** GraphQL Yoga, with a subscription over server-sent events. */
import closeWithGrace from 'close-with-grace'
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { createSchema, createYoga } from 'graphql-yoga'
import { jobs } from '../shared/jobs.js'
import { wait } from '../shared/wait.js'
import { watch } from '../shared/watch.js'

const app = Fastify({ logger: true })
watch(app)
await app.register(concurrency, { workers: { jobs, maxThreads: 2 } })

const yoga = createYoga({
  logging: false,
  maskedErrors: false,
  schema: createSchema({
    typeDefs: 'type Query { work(ms: Int!): String } type Subscription { events: String }',
    resolvers: {
      Query: { work: (_parent, { ms }, { req }) => wait(req, ms) },
      Subscription: {
        events: {
          async * subscribe (_parent, _args, { req }) {
            req.log.info('work begins')
            req.disconnected.addEventListener('abort', () => req.log.info('work stopped'))
            yield { events: 'first' }
            await new Promise((resolve) => { req.raw.socket.on('close', resolve) })
          }
        }
      }
    }
  })
})

app.addContentTypeParser('multipart/form-data', {}, (_request, _payload, done) => done(null))
app.route({
  url: yoga.graphqlEndpoint,
  method: ['GET', 'POST', 'OPTIONS'],
  handler: (request, reply) => yoga.handleNodeRequestAndResponse(request, reply, { req: request })
})

closeWithGrace({ delay: 10_000, logger: app.log }, ({ signal }) => app.lifecycle.shutdown(signal))
await app.listen({ port: 0, host: '127.0.0.1' })
