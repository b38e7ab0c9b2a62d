// Reservations that are cancelled, in any order: each decision equals that of Go's x/time/rate, whose traces these are.
import { readFileSync } from 'node:fs'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import limiter, { type LimiterOptions, type Policies, type Reservation } from '../../plugins/limiter/index.ts'
import { noRedis, startRedis } from './redis.ts'

interface Operation { at: number, op: 'allow' | 'reserve' | 'cancel', n: number, id: number, ok: boolean, delay?: number, tokens: number }
interface Trace { rate: number, burst: number, ops: Operation[] }

const traces = JSON.parse(readFileSync(new URL('../fixtures/token-bucket-cancel-traces.json', import.meta.url), 'utf8')) as Trace[]
const skip = await noRedis()

/** An app with a policy for each trace. */
async function start (t: Test, options: Partial<LimiterOptions>): Promise<FastifyInstance> {
  const policies: Policies = Object.fromEntries(traces.map(({ rate, burst }, index) => [`trace ${index}`, { rate, burst, onStoreError: 'closed' }]))
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(limiter, { policies, maxKeys: 1, ...options })
  await app.ready()
  return app
}

/** Returns how the limiter differs from a trace; undefined if it doesn't. Like Go, the limiter is asked for the tokens after each operation. */
async function differs ({ limiter }: FastifyInstance, trace: number, setTime: (at: number) => Promise<void>): Promise<string | undefined> {
  const policy = `trace ${trace}`
  const { burst, ops } = traces[trace]!
  const reservations = new Map<number, Reservation>()
  for (const [step, { at, op, n, id, ok, delay, tokens }] of ops.entries()) {
    const label = `${policy}, operation ${step}: ${op} ${n} at ${at}`
    await setTime(at)
    // Go refuses what the bucket never holds. The limiter throws.
    if (op === 'allow' && n <= burst && await limiter.allow(policy, 'k', n) !== ok) return label
    if (op === 'cancel') await reservations.get(id)?.cancel()
    if (op === 'reserve' && n <= burst) {
      const reservation = await limiter.reserve(policy, 'k', { cost: n, maxWait: 2 ** 31 - 1 })
      if (reservation.ok !== ok || Math.abs(reservation.delay - delay!) > 1e-5) return `${label}: ${reservation.delay} ms, not ${delay}`
      reservations.set(id, reservation)
    }
    const left = (await limiter.peek(policy, 'k')).tokens
    if (Math.abs(left - tokens) > 1e-6) return `${label}: ${left} tokens, not ${tokens}`
  }
  return undefined
}

t.test('in memory', async (t) => {
  const clock = { time: 0, now () { return this.time } }
  const app = await start(t, { clock })
  const different = []
  for (const trace of traces.keys()) different.push(await differs(app, trace, async (at) => { clock.time = at }))
  t.strictSame(different.filter((text) => text !== undefined), [])
  t.equal(different.length, 300)
})

t.test('on Redis', skip === false ? {} : { skip }, async (t) => {
  const redis = (await startRedis(t)).client()
  const app = await start(t, { redis: new Proxy(redis, { get: replaceTime }), storeTimeout: 10_000 })
  const different = []
  // Today's time, in which a double has no nanoseconds left.
  const today = 1_790_000_000_000
  for (const trace of traces.keys()) {
    different.push(await differs(app, trace, async (at) => {
      await redis.multi().del('{time}').rpush('{time}', Math.floor((today + at) / 1000), (at % 1000) * 1000).exec()
    }))
    await redis.flushall()
  }
  t.strictSame(different.filter((text) => text !== undefined), [])
  t.equal(different.length, 300)
})

/** A client whose scripts read the time from a list, in which it stands as TIME replies. Redis' own clock would let keys expire: they live longer. */
function replaceTime (client: Redis, method: keyof Redis): unknown {
  if (method === 'evalsha') return async () => { throw new Error('NOSCRIPT') }
  if (method !== 'eval') return client[method]
  return async (script: string, ...rest: [number, ...string[]]) => {
    const text = script.replace('redis.call(\'TIME\')', 'redis.call(\'LRANGE\', \'{time}\', 0, 1)').replace('\'PX\', ', '\'PX\', \'9999\' .. ')
    if (!text.includes('LRANGE') || !text.includes('9999')) throw new Error('The script has changed')
    return await client.eval(text, ...rest)
  }
}
