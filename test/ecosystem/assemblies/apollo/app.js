/** Apollo Server. argv[2] `own`: Apollo's handlers of signals are on, as they are by default, and the application has none. */
import { ApolloServer } from '@apollo/server'
import fastifyApollo, { fastifyApolloDrainPlugin } from '@as-integrations/fastify'
import closeWithGrace from 'close-with-grace'
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { jobs } from '../shared/jobs.js'
import { wait } from '../shared/wait.js'
import { watch } from '../shared/watch.js'

const hasOwn = process.argv[2] === 'own'
const app = Fastify({ logger: true })
watch(app)
await app.register(concurrency, { workers: { jobs, maxThreads: 2 }, lifecycle: { delay: 300, livePath: '/live' } })
const apollo = new ApolloServer({
  typeDefs: 'type Query { work(ms: Int!): String }',
  resolvers: { Query: { work: (_parent, { ms }, { request }) => wait(request, ms) } },
  plugins: [fastifyApolloDrainPlugin(app)],
  stopOnTerminationSignals: hasOwn
})
await apollo.start()
await app.register(fastifyApollo(apollo), { context: async (request) => ({ request }) })
if (!hasOwn) {
  closeWithGrace({ delay: 10_000, logger: app.log }, async ({ signal }) => {
    await app.lifecycle.shutdown(signal)
    await apollo.stop()
  })
}
await app.listen({ port: 0, host: '127.0.0.1' })
