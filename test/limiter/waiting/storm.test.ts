// What holds for callers that wait, on both stores: equal and unequal ones, with and without patience, some that leave, while the event loop stalls
// and Redis answers late or not at all. FC_WAITING_RUNS sets how many random runs there are, FC_WAITING_SEED repeats one.
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import limiter, { type LimiterOptions } from '../../../plugins/limiter/index.ts'
import { random } from '../../core/line/random.ts'
import { noRedis, startRedis } from '../redis.ts'

const runs = Number(process.env['FC_WAITING_RUNS'] ?? 2)
const seeds = process.env['FC_WAITING_SEED'] === undefined ? Array.from({ length: runs }, () => Math.floor(Math.random() * 2 ** 31)) : [Number(process.env['FC_WAITING_SEED'])]
/** The longest stall of the event loop, in ms. */
const STALL = 300
/** How often the test looks whether the event loop turns, in ms. */
const BEAT = 5
/** How often the event loop may have turned since a call was to settle. While the loop is stalled, by the test or by the machine, it doesn't turn. */
const BEATS = 8
/** After how many ms a call hangs. */
const HANGS = 10_000
/** How many ms a call may wait for the store's answer, whatever its timeout. */
const ANSWER = 100

/** For how long, in ms, a loaded machine may take this process's thread away between a grant and the look at the clock. */
const PREEMPTED = 10

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

function stall (ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

async function start (t: Test, policy: object, options: Partial<LimiterOptions>): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(limiter, { policies: { p: { routes: 'named', onStoreError: 'closed', ...policy } as never }, ...options })
  await app.ready()
  return app
}

/** A server before Redis that answers late, later than anybody waits, or ends a connection in place of an answer. */
async function unreliable (t: Test, path: string, next: () => number): Promise<{ port: number, calm (): void }> {
  let isCalm = false
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    const upstream = connect(path)
    let last = Promise.resolve()
    for (const side of [socket, upstream]) {
      sockets.add(side)
      side.on('error', () => {})
      side.on('close', () => { socket.destroy(); upstream.destroy() })
    }
    socket.on('data', (data) => upstream.write(data))
    upstream.on('data', (data) => {
      const delay = isCalm || next() < 0.7 ? 0 : next() < 0.03 ? 100 + next() * 200 : next() * 80
      const isLost = !isCalm && next() < 0.01
      last = last.then(async () => {
        if (delay > 0) await sleep(delay)
        if (isLost) socket.destroy()
        else socket.write(data)
      })
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, calm: () => { isCalm = true } }
}

interface Call {
  number: number
  cost: number
  timeout: number
  began: number
  /** Milliseconds until the call settled. */
  took: number
  /** How often the event loop has turned since the call was to settle. */
  beats: number
  code: string
}

/** Tokens that belonged to somebody from an instant on, in ms. */
interface Grant { at: number, cost: number }

interface Storm { calls: Call[], granted: Call[], foreign: Grant[] }

/** Calls `wait` at random for some seconds, beside reservations that are kept or cancelled. */
async function storm ({ limiter }: FastifyInstance, next: () => number, burst: number): Promise<Storm> {
  const calls: Array<Promise<Call>> = []
  const granted: Call[] = []
  const foreign: Grant[] = []
  const began = performance.now()
  const beats: number[] = []
  const beating = setInterval(() => beats.push(performance.now()), BEAT)
  const number = (max: number): number => Math.floor(next() * max)

  const call = async (cost: number, timeout: number, leaveAfter: number): Promise<Call> => {
    const call: Call = { number: calls.length, cost, timeout, began: performance.now(), took: Infinity, beats: 0, code: 'hangs' }
    const signal = leaveAfter === Infinity ? undefined : AbortSignal.timeout(leaveAfter)
    const waiting = limiter.wait('p', undefined, { cost, timeout, ...signal && { signal } }).then(() => { granted.push(call); return 'granted' }, ({ code }: { code: string }) => code)
    const end = call.began + Math.min(leaveAfter, timeout + ANSWER)
    call.code = await Promise.race([waiting, sleep(timeout + HANGS).then(() => 'hangs')])
    call.took = performance.now() - call.began
    call.beats = beats.filter((at) => at > end).length
    return call
  }

  const reserve = async (cost: number, isKept: boolean): Promise<void> => {
    const { ok, delay, cancel } = await limiter.reserve('p', undefined, { cost, maxWait: 60_000 })
    if (!isKept) await cancel()
    else if (ok) foreign.push({ at: performance.now() + delay, cost })
  }

  // In debt at first, beside reservations that are kept.
  const debt = number(2) * 30
  for (let taken = 0; taken < debt; taken += burst) await reserve(burst, true).catch(() => {})
  while (performance.now() - began < 2_500) {
    for (let group = 1 + number(5); group > 0; group--) {
      calls.push(call(1 + number(burst), [0, 5, 100, 500, 1_000, 2_000][number(6)]!, next() < 0.3 ? number(400) : Infinity))
    }
    if (next() < 0.2) void reserve(1 + number(burst), next() < 0.5).catch(() => {})
    // The calls begin before the stall: one stall is what each of them may take longer.
    await new Promise(setImmediate)
    if (next() < 0.15) stall(number(STALL + 1))
    await sleep(number(60))
  }
  const settled = await Promise.all(calls)
  clearInterval(beating)
  return { calls: settled, granted, foreign }
}

/**
 * Returns the grants that exceed burst + rate·t after an earlier one, which doesn't count itself: it may have been seen later than its instant, in
 * a stall of which the bucket is full again. The others may have been seen up to `lateness` ms late.
 */
function excess (grants: readonly Grant[], { rate, burst }: { rate: number, burst: number }, lateness: number): Grant[] {
  return grants.flatMap((first, index) => {
    let tokens = 0
    return grants.slice(index + 1).filter(({ at, cost }) => {
      tokens += cost
      return tokens > burst + rate * (at - first.at + lateness) / 1000
    })
  })
}

function check (t: Test, seed: number, shape: { rate: number, burst: number }, { calls, granted, foreign }: Storm): void {
  const label = `FC_WAITING_SEED=${seed}, rate ${shape.rate}, burst ${shape.burst}, ${calls.length} calls, ${granted.length} granted`
  const late = calls.filter(({ code, beats }) => code === 'hangs' || beats > BEATS)
  t.strictSame(late, [], `${label}: each call settles within its timeout and one stall`)
  const numbers = granted.map(({ number }) => number)
  t.strictSame(numbers, numbers.toSorted((a, b) => a - b), `${label}: first come, first served`)
  // A call may be resumed late, by a stall or a slow answer. Those behind it ask afterwards, so nothing else is late.
  const own = granted.map(({ began, took, cost }): Grant => ({ at: began + took, cost }))
  t.strictSame(excess(own, shape, PREEMPTED), [], `${label}: never more than burst + rate·t`)
  // Foreign reservations act at their instant, also while the waiter before them is resumed late.
  const all = [...own, ...foreign].toSorted((a, b) => a.at - b.at)
  const lateness = STALL + ANSWER + Math.max(0, ...calls.map(({ took, timeout }) => took - timeout - ANSWER))
  t.strictSame(excess(all, shape, lateness), [], `${label}: foreign reservations included`)
  t.ok(granted.length > 0, 'somebody was granted')
}

const shapes = [{ rate: 60, burst: 5 }, { rate: 200, burst: 3 }, { rate: 20, burst: 10 }, { rate: 500, burst: 1 }]
const skip = await noRedis()

for (const seed of seeds) {
  const shape = shapes[seed % shapes.length]!
  t.test(`in memory, seed ${seed}`, async (t) => {
    const app = await start(t, shape, {})
    check(t, seed, shape, await storm(app, random(seed), shape.burst))
    await app.limiter.wait('p')
  })

  t.test(`on Redis that answers late or not at all, seed ${seed}`, skip === false ? {} : { skip }, async (t) => {
    const next = random(seed)
    const { path } = await startRedis(t)
    const { port, calm } = await unreliable(t, path, random(seed + 1))
    const redis = new Redis({ port, host: '127.0.0.1', retryStrategy: () => 20, maxRetriesPerRequest: 1, enableOfflineQueue: false })
    redis.on('error', () => {})
    t.teardown(() => redis.disconnect())
    await once(redis, 'ready')
    const app = await start(t, shape, { redis })
    check(t, seed, shape, await storm(app, next, shape.burst))
    calm()
    // Once Redis answers again, waiting does too.
    for (let settled = 'FC_ERR_LIMITER_STORE'; settled === 'FC_ERR_LIMITER_STORE';) {
      settled = await app.limiter.wait('p').then(() => 'granted', ({ code }: { code: string }) => code)
      if (settled !== 'granted') await sleep(50)
    }
  })
}

/** A bucket 30 tokens in debt, waits of different costs before and after a stall, and one more: each settles. */
async function waitAroundStall (limiter: FastifyInstance['limiter']): Promise<void> {
  for (let taken = 0; taken < 35; taken += 5) await limiter.reserve('p', undefined, { cost: 5 })
  const waits = [1, 2, 1].map((cost) => limiter.wait('p', undefined, { cost }))
  await sleep(1)
  stall(98)
  waits.push(...[1, 3].map((cost) => limiter.wait('p', undefined, { cost })))
  await Promise.all(waits)
  await limiter.wait('p')
}

t.test('a stall between waits of different costs jams nobody', async (t) => {
  const { limiter } = await start(t, { rate: 60, burst: 5 }, {})
  await waitAroundStall(limiter)
})

t.test('a stall between waits of different costs jams nobody, on Redis', skip === false ? {} : { skip }, async (t) => {
  const redis = (await startRedis(t)).client()
  await redis.ping()
  const { limiter } = await start(t, { rate: 60, burst: 5 }, { redis, storeTimeout: 1_000 })
  await waitAroundStall(limiter)
})

t.test('a caller without patience behind one that is asking gets a token that is there', skip === false ? {} : { skip }, async (t) => {
  const redis = (await startRedis(t)).client()
  await redis.ping()
  const { limiter } = await start(t, { rate: 1, burst: 5 }, { redis, storeTimeout: 1_000 })
  await Promise.all(Array.from({ length: 5 }, () => limiter.wait('p', undefined, { timeout: 0 })))
  await t.rejects(limiter.wait('p', undefined, { timeout: 0 }), { code: 'FC_ERR_LIMITED' })
})

t.test('those who can\'t be served in time are refused as soon as that is known', async (t) => {
  const { limiter } = await start(t, { rate: 1, burst: 1 }, {})
  await limiter.reserve('p')
  const began = performance.now()
  const waits = Array.from({ length: 10 }, () => limiter.wait('p', undefined, { timeout: 3_500 }))
  waits.forEach((wait) => { wait.catch(() => {}) })
  await t.rejects(waits[9]!, { code: 'FC_ERR_LIMITED', statusCode: 429 })
  t.ok(performance.now() - began < 3_000, 'before the timeout')
  t.same((await Promise.allSettled(waits)).map(({ status }) => status === 'fulfilled'), [true, true, true, false, false, false, false, false, false, false])
})

t.test('the tokens of a waiter that leaves first serve the next one at the same instant, beside reservations behind them', async (t) => {
  const { limiter } = await start(t, { rate: 0.5, burst: 1 }, {})
  await limiter.wait('p')
  const left = new AbortController()
  const leaving = limiter.wait('p', undefined, { signal: left.signal })
  const staying = limiter.wait('p')
  const { delay } = await limiter.reserve('p')
  t.ok(delay > 3_000, 'behind the first waiter')
  const began = performance.now()
  left.abort()
  await t.rejects(leaving, { code: 'FC_ERR_LIMIT_WAIT_ABORTED' })
  await staying
  t.ok(performance.now() - began < 3_900, 'and not behind that reservation')
})

for (const store of ['memory', 'redis']) {
  t.test(`a call that leaves while the store decides takes no tokens: ${store}`, { skip: store === 'redis' && skip }, async (t) => {
    const redis = store === 'redis' ? (await startRedis(t)).client() : undefined
    const { limiter } = await start(t, { rate: 1, per: 'hour', burst: 100 }, redis === undefined ? {} : { redis })
    await limiter.wait('p')
    for (let i = 0; i < 10; i++) {
      const left = new AbortController()
      const leaving = limiter.wait('p', undefined, { cost: 5, signal: left.signal })
      queueMicrotask(() => left.abort())
      await t.rejects(leaving, { code: 'FC_ERR_LIMIT_WAIT_ABORTED' })
    }
    // The last call asks behind all that the others gave back.
    await limiter.wait('p')
    const { tokens } = await limiter.peek('p')
    t.equal(Math.round(tokens), 98)
  })
}
