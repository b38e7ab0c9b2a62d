import { definePolicies } from 'fastify-concurrency/limiter'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import concurrency from 'fastify-concurrency'
import limiter from 'fastify-concurrency/limiter'
import { policies } from './policies.ts'
const app = Fastify()
declare function search (request: FastifyRequest, reply: FastifyReply): Promise<string[]>
declare function thumbnails (request: FastifyRequest, reply: FastifyReply): Promise<Buffer>
declare function healthz (request: FastifyRequest, reply: FastifyReply): Promise<string>
definePolicies({
  login: { rate: 5, per: 'minute', burst: 5, key: 'address', routes: 'named', lockout: { after: 10, duration: 15 * 60_000 } }
})
export {}
