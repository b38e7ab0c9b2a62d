// The server of bench/limiter.ts: one app a variant, each on a port of its own, in a process of their own so that its CPU time is theirs.
// The ambient request makes every promise of a process dearer on Node 20 and 22, so its variants are in a process apart.
import { createWriteStream } from 'node:fs'
import rateLimit from '@fastify/rate-limit'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import { RateLimiterMemory } from 'rate-limiter-flexible'
import cancellation from '../plugins/cancellation/index.ts'
import limiter, { type Policies } from '../plugins/limiter/index.ts'

const PLENTY = 1e9
const [, , mode, socket] = process.argv as [string, string, 'plain' | 'ambient', string]

function accepting (count: number): Policies {
  const client = { rate: PLENTY, burst: PLENTY, key: 'address' } as const
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`client${index}`, client]))
}

const refusing: Policies = { client: { rate: 1e-6, burst: 1, key: 'address' } }

async function flexible (app: FastifyInstance, points: number): Promise<void> {
  const memory = new RateLimiterMemory({ points, duration: 60 })
  app.addHook('onRequest', async (request, reply) => {
    try {
      const { remainingPoints, msBeforeNext } = await memory.consume(request.ip)
      reply.headers({ 'x-ratelimit-limit': points, 'x-ratelimit-remaining': remainingPoints, 'x-ratelimit-reset': Math.ceil(msBeforeNext / 1000) })
    } catch {
      return reply.code(429).send({ statusCode: 429, error: 'Too Many Requests', message: 'Too many requests' })
    }
  })
}

type Register = (app: FastifyInstance) => Promise<unknown>

const plain: Record<string, Register> = {
  bare: async () => {},
  '@fastify/rate-limit': async (app) => app.register(rateLimit, { max: PLENTY }),
  'rate-limiter-flexible': (app) => flexible(app, PLENTY),
  'ours, 1 policy': async (app) => app.register(limiter, { policies: accepting(1), ambient: false }),
  'ours, 3 policies': async (app) => app.register(limiter, { policies: accepting(3), ambient: false }),
  'refused: @fastify/rate-limit': async (app) => app.register(rateLimit, { max: 1, timeWindow: 1e9 }),
  'refused: rate-limiter-flexible': (app) => flexible(app, 1),
  'refused: ours': async (app) => app.register(limiter, { policies: refusing, ambient: false })
}

const ambient: Record<string, Register> = {
  'ambient: bare': async (app) => app.register(cancellation),
  'ambient: ours, 1 policy': async (app) => app.register(limiter, { policies: accepting(1) }),
  'ambient: ours, 3 policies': async (app) => app.register(limiter, { policies: accepting(3) })
}

const redis: Record<string, (app: FastifyInstance, client: Redis) => Promise<unknown>> = {
  'Redis: @fastify/rate-limit, 1 limit': async (app, client) => app.register(rateLimit, { max: PLENTY, redis: client }),
  'Redis: ours, 1 policy': async (app, redis) => app.register(limiter, { policies: accepting(1), redis, ambient: false }),
  'Redis: ours, 3 policies': async (app, redis) => app.register(limiter, { policies: accepting(3), redis, ambient: false })
}

async function listen (app: FastifyInstance): Promise<number> {
  app.get('/', async () => 'ok')
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as { port: number }).port
}

const ports: Record<string, number> = {}
for (const [name, register] of Object.entries(mode === 'ambient' ? ambient : plain)) {
  for (const log of mode === 'ambient' ? [false] : [false, true]) {
    const app: FastifyInstance = log ? Fastify({ logger: { stream: createWriteStream('/dev/null') } }) : Fastify()
    await register(app)
    ports[log ? `${name}, logger on` : name] = await listen(app)
  }
}
if (mode === 'plain') {
  for (const [name, register] of Object.entries(redis)) {
    const app: FastifyInstance = Fastify()
    await register(app, new Redis(socket))
    ports[name] = await listen(app)
  }
}

process.on('message', () => process.send!(process.cpuUsage()))
process.send!(ports)
