import { definePolicies } from 'fastify-concurrency/limiter'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import concurrency from 'fastify-concurrency'
import limiter from 'fastify-concurrency/limiter'
import { policies } from './policies.ts'
const app = Fastify()
declare function search (request: FastifyRequest, reply: FastifyReply): Promise<string[]>
declare function thumbnails (request: FastifyRequest, reply: FastifyReply): Promise<Buffer>
declare function healthz (request: FastifyRequest, reply: FastifyReply): Promise<string>
await app.register(concurrency, { limiter: { policies } })          // or: app.register(limiter, { policies })

app.get('/search', { config: { limiter: { policies: ['plan'] } } }, search)
app.get('/thumbnails', { config: { limiter: { cost: 5 } } }, thumbnails)
app.get('/healthz', { config: { limiter: false } }, healthz)

app.get('/repos', async () => {
  await app.limiter.wait('outbound', undefined, { timeout: 2_000 })  // ends when the client leaves
  const response = await fetch('https://api.github.com/repositories')
  return response.json()
})
export {}
