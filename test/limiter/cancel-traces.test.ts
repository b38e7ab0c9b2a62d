// Reservations that are cancelled, in any order: each decision equals that of Go's x/time/rate, in 300 recorded traces of it and in random ones
// of a model. FC_TRACES sets how many random ones there are, FC_TRACES_SEED repeats those of a run.
import { readFileSync } from 'node:fs'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import limiter, { type LimiterOptions, type Policies, type Reservation } from '../../plugins/limiter/index.ts'
import { random } from '../core/line/random.ts'
import { GoLimiter, randomTrace, type GoReservation, type Trace } from './go-limiter.ts'
import { noRedis, startRedis } from './redis.ts'

const recorded = JSON.parse(readFileSync(new URL('../fixtures/token-bucket-cancel-traces.json', import.meta.url), 'utf8')) as Trace[]
const count = Number(process.env['FC_TRACES'] ?? 50)
const seed = Number(process.env['FC_TRACES_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const next = random(seed)
const traces: Trace[] = [...recorded, ...Array.from({ length: count }, () => randomTrace(next))]
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

/**
 * Returns how the limiter differs from a trace; undefined if it doesn't. Like Go, the limiter is asked for the tokens after each operation.
 *
 * @param fineness how many ms the limiter may differ by where the trace has parts of a millisecond
 */
async function differs ({ limiter }: FastifyInstance, trace: number, fineness: number, setTime: (at: number) => Promise<void>): Promise<string | undefined> {
  const policy = `trace ${trace}`
  const { rate, burst, ops } = traces[trace]!
  // In whole milliseconds, in which a double is exact, the limiter differs by no more than the sums of doubles do.
  const isWhole = ops.every(({ at }) => Number.isInteger(at))
  const [anyDelay, anyTokens] = isWhole ? [1e-5, 1e-6] : [fineness, Math.max(1e-6, fineness * rate / 1000)]
  const reservations = new Map<number, Reservation>()
  for (const [step, { at, op, n, id, ok, delay, tokens }] of ops.entries()) {
    const label = `${policy}, operation ${step}: ${op} ${n} at ${at}`
    await setTime(at)
    // Go refuses what the bucket never holds. The limiter throws.
    if (op === 'allow' && n <= burst && await limiter.allow(policy, 'k', n) !== ok) return label
    if (op === 'cancel') await reservations.get(id)?.cancel()
    if (op === 'reserve' && n <= burst) {
      const reservation = await limiter.reserve(policy, 'k', { cost: n, maxWait: 2 ** 31 - 1 })
      if (reservation.ok !== ok || Math.abs(reservation.delay - delay!) > anyDelay) return `${label}: ${reservation.delay} ms, not ${delay}`
      reservations.set(id, reservation)
    }
    const left = (await limiter.peek(policy, 'k')).tokens
    if (Math.abs(left - tokens) > anyTokens) return `${label}: ${left} tokens, not ${tokens}`
  }
  return undefined
}

t.test('the model of the random traces agrees with the recorded ones', async (t) => {
  for (const [index, { rate, burst, ops }] of recorded.entries()) {
    const model = new GoLimiter(rate, burst)
    const reservations = new Map<number, GoReservation>()
    const different = ops.filter(({ at, op, n, id, ok, tokens }) => {
      const now = Math.round(at * 1e6)
      const reserved = op === 'cancel' ? undefined : model.reserve(now, n, op === 'allow' ? 0 : Infinity)
      if (reserved !== undefined) reservations.set(id, reserved)
      const cancelled = op === 'cancel' ? reservations.get(id) : undefined
      if (cancelled !== undefined) model.cancel(now, cancelled)
      return (op !== 'cancel' && (reserved !== undefined) !== ok) || Math.abs(model.tokensAt(now) - tokens) > 1e-9
    })
    if (different.length > 0) t.fail(`trace ${index} differs`, { different })
  }
})

t.test('in memory', async (t) => {
  const clock = { time: 0, now () { return this.time } }
  const app = await start(t, { clock })
  const different = []
  for (const trace of traces.keys()) different.push(await differs(app, trace, 1e-5, async (at) => { clock.time = at }))
  t.strictSame(different.filter((text) => text !== undefined), [])
  t.equal(different.length, 300 + count, `FC_TRACES_SEED=${seed}`)
})

t.test('on Redis', skip === false ? {} : { skip }, async (t) => {
  const redis = (await startRedis(t)).client()
  const app = await start(t, { redis: new Proxy(redis, { get: replaceTime }), storeTimeout: 10_000 })
  const different = []
  // Today's time, in which a double has a quarter of a microsecond.
  const today = 1_790_000_000_000
  for (const trace of traces.keys()) {
    different.push(await differs(app, trace, 5e-4, async (at) => {
      await redis.multi().del('{time}').rpush('{time}', Math.floor((today + at) / 1000), Math.round((at % 1000) * 1000)).exec()
    }))
    await redis.flushall()
  }
  t.strictSame(different.filter((text) => text !== undefined), [])
  t.equal(different.length, 300 + count, `FC_TRACES_SEED=${seed}`)
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
