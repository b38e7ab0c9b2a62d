// One server of bench/limiter.ts. Each variant has a process of its own, so that CPU time and compiled code aren't shared.
import { createWriteStream } from 'node:fs'
import rateLimit from '@fastify/rate-limit'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import { RateLimiterMemory } from 'rate-limiter-flexible'
import cancellation from '../plugins/cancellation/index.ts'
import limiter, { type Policies } from '../plugins/limiter/index.ts'

const PLENTY = 1e9

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

type Register = (app: FastifyInstance, socket: string) => Promise<unknown>

const local: Record<string, Register> = {
  bare: async () => {},
  '@fastify/rate-limit': async (app) => app.register(rateLimit, { max: PLENTY }),
  'rate-limiter-flexible': (app) => flexible(app, PLENTY),
  'ours, 1 policy': async (app) => app.register(limiter, { policies: accepting(1), ambient: false }),
  'ours, 3 policies': async (app) => app.register(limiter, { policies: accepting(3), ambient: false }),
  'refused: @fastify/rate-limit': async (app) => app.register(rateLimit, { max: 1, timeWindow: 1e9 }),
  'refused: rate-limiter-flexible': (app) => flexible(app, 1),
  'refused: ours': async (app) => app.register(limiter, { policies: refusing, ambient: false })
}

const others: Record<string, Register> = {
  'ambient: bare': async (app) => app.register(cancellation),
  'ambient: ours, 1 policy': async (app) => app.register(limiter, { policies: accepting(1) }),
  'ambient: ours, 3 policies': async (app) => app.register(limiter, { policies: accepting(3) }),
  'Redis: @fastify/rate-limit, 1 limit': async (app, socket) => app.register(rateLimit, { max: PLENTY, redis: new Redis(socket) }),
  'Redis: ours, 1 policy': async (app, socket) => app.register(limiter, { policies: accepting(1), redis: new Redis(socket), ambient: false }),
  'Redis: ours, 3 policies': async (app, socket) => app.register(limiter, { policies: accepting(3), redis: new Redis(socket), ambient: false })
}

const LOGGED = ', logger on'

export const variants: readonly string[] = [...Object.keys(local), ...Object.keys(local).map((name) => name + LOGGED), ...Object.keys(others)]

if (process.send !== undefined) {
  const [, , variant, socket] = process.argv as [string, string, string, string]
  const name = variant.replace(LOGGED, '')
  const app: FastifyInstance = variant === name ? Fastify() : Fastify({ logger: { stream: createWriteStream('/dev/null') } })
  await (local[name] ?? others[name])!(app, socket)
  app.get('/', async () => 'ok')
  await app.listen({ port: 0, host: '127.0.0.1' })
  process.on('message', () => process.send!(process.cpuUsage()))
  // Ends the server when the benchmark is stopped.
  process.once('disconnect', () => process.exit())
  process.send({ port: (app.server.address() as { port: number }).port })
}
