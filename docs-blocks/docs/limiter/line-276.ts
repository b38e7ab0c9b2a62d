import { definePolicies } from 'fastify-concurrency/limiter'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import concurrency from 'fastify-concurrency'
import limiter from 'fastify-concurrency/limiter'
import { policies } from './policies.ts'
const app = Fastify()
declare function search (request: FastifyRequest, reply: FastifyReply): Promise<string[]>
declare function thumbnails (request: FastifyRequest, reply: FastifyReply): Promise<Buffer>
declare function healthz (request: FastifyRequest, reply: FastifyReply): Promise<string>
const behindNginx = Fastify({ trustProxy: ['127.0.0.1', '10.0.0.0/8'] })
export {}
