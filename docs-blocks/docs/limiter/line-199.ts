import { definePolicies } from 'fastify-concurrency/limiter'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import concurrency from 'fastify-concurrency'
import limiter from 'fastify-concurrency/limiter'
import { policies } from './policies.ts'
const app = Fastify()
declare function search (request: FastifyRequest, reply: FastifyReply): Promise<string[]>
declare function thumbnails (request: FastifyRequest, reply: FastifyReply): Promise<Buffer>
declare function healthz (request: FastifyRequest, reply: FastifyReply): Promise<string>
declare const db: { query: (sql: string) => Promise<unknown[]> }

app.get('/orders', { config: { limiter: { policies: ['db'] } } }, async () => db.query('…'))          // a request holds a permit until it has ended
app.get('/bill', async () => app.limiter.run('db', async () => db.query('…'), { key: 'bills' }))      // only its query does
export {}
