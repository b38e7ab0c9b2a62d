// Requests against a real Redis: shared between processes, killed and restarted under load.
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import Fastify from 'fastify'
import type { RedisOptions } from 'ioredis'
import t, { type Test } from 'tap'
import limiter, { type LimiterOptions } from '../../plugins/limiter/index.ts'
import { storeFailed, storeRecovered } from '../../plugins/limiter/channels.ts'
import { noRedis, startRedis } from './redis.ts'
import { NEVER } from './helper.ts'

const skip = await noRedis()
const options = skip === false ? {} : { skip }

interface Sibling {
  ask <Answer>(message: object): Promise<Answer>
}

async function siblings (t: Test, count: number, ...args: string[]): Promise<Sibling[]> {
  const file = new URL('../fixtures/limiter-process.ts', import.meta.url)
  const children: ChildProcess[] = []
  t.teardown(async () => {
    await Promise.all(children.map(async (child) => {
      if (child.exitCode !== null) return
      const exited = once(child, 'exit')
      if (child.connected) child.send({ end: true })
      else child.kill('SIGKILL')
      await exited
    }))
  })
  for (let i = 0; i < count; i++) children.push(fork(file, args))
  await Promise.all(children.map((child) => once(child, 'message')))
  return children.map((child) => ({
    async ask<Answer> (message: object) {
      const answered = once(child, 'message')
      child.send(message)
      return (await answered)[0] as Answer
    }
  }))
}

t.test('two processes, 2 x 500 concurrent requests, burst 100, no rate: exactly 100 pass', options, async (t) => {
  const redis = await startRedis(t)
  const processes = await siblings(t, 2, redis.path, String(NEVER), '100')
  const urls = await Promise.all(processes.map(async (sibling) => (await sibling.ask<{ url: string }>({ serve: true })).url))
  const statuses = await Promise.all(Array.from({ length: 1000 }, async (_, index) => {
    const response = await fetch(urls[index % 2]!)
    await response.text()
    return response.status
  }))
  t.equal(statuses.filter((status) => status === 200).length, 100)
  t.equal(statuses.filter((status) => status === 429).length, 900)
})

t.test('three processes are granted burst + rate·t together', options, async (t) => {
  const redis = await startRedis(t)
  const processes = await siblings(t, 3, redis.path, '400', '100')
  const results = await Promise.all(processes.map((sibling) => sibling.ask<{ granted: number, first: number, last: number }>({ take: 1500 })))
  const granted = results.reduce((sum, result) => sum + result.granted, 0)
  const seconds = (Math.max(...results.map(({ last }) => last)) - Math.min(...results.map(({ first }) => first)) + 1) / 1000
  const share = granted / (100 + 400 * seconds)
  t.ok(share <= 1, `never more: ${share}`)
  t.ok(share > 0.9, `and hardly less, however busy the machine: ${share}`)
})

const clients: Record<string, Omit<RedisOptions, 'replyMapping'>> = {
  'a client with its defaults': {},
  'a client that retries for ever': { maxRetriesPerRequest: null },
  'a client that fails fast': { enableOfflineQueue: false, maxRetriesPerRequest: 0 }
}

for (const [name, clientOptions] of Object.entries(clients)) {
  t.test(`killed and restarted under load: nothing hangs, nothing crashes; ${name}`, options, async (t) => {
    const redis = await startRedis(t)
    const client = redis.client(clientOptions)
    await once(client, 'ready')
    const logged: Array<{ level: number, msg: string }> = []
    const app = Fastify({ logger: { stream: { write: (line: string) => { logged.push(JSON.parse(line)) } } }, disableRequestLogging: true })
    t.teardown(() => app.close())
    const policy = { rate: NEVER, burst: 1_000_000, key: 'address', routes: 'named' } as const
    await app.register(limiter, {
      redis: client,
      storeTimeout: 400, // a busy machine is no Redis that is away
      policies: { local: { ...policy, burst: 50 }, open: { ...policy, onStoreError: 'open' }, closed: { ...policy, onStoreError: 'closed' } }
    })
    for (const name of ['local', 'open', 'closed']) app.get(`/${name}`, { config: { limiter: { policies: [name] } } }, async () => 'ok')
    const url = await app.listen({ port: 0, host: '127.0.0.1' })

    let slowest = 0
    const load = new AbortController()
    const counts: Record<string, number> = {}
    const hammer = async (path: string): Promise<void> => {
      while (!load.signal.aborted) {
        const began = performance.now()
        const response = await fetch(`${url}/${path}`)
        await response.text()
        slowest = Math.max(slowest, performance.now() - began)
        const key = `${path} ${response.status}`
        counts[key] = (counts[key] ?? 0) + 1
      }
    }
    const failed = once(channelEvents(t, storeFailed), 'message')
    const recovered = once(channelEvents(t, storeRecovered), 'message')
    const loops = Promise.all(['local', 'open', 'closed', 'open'].map(hammer))
    await until(() => (counts['closed 200'] ?? 0) > 20)

    await redis.kill()
    await failed
    await until(() => (counts['closed 503'] ?? 0) > 20 && (counts['local 429'] ?? 0) > 20)
    const refusedOpen = counts['open 503'] ?? counts['open 500'] ?? counts['open 429'] ?? 0
    const servedAway = counts['closed 200']!

    await redis.start()
    await recovered
    await until(() => counts['closed 200']! > servedAway + 20)
    load.abort()
    await loops

    t.equal(refusedOpen, 0, 'open lets all pass')
    t.same(Object.keys(counts).filter((key) => !/^(local (200|429)|open 200|closed (200|503))$/.test(key)), [])
    t.ok(slowest < 2000, `the slowest took ${slowest} ms`)
    t.same(logged.filter(({ msg }) => msg.startsWith('limiter:')).map(({ level }) => level), [50, 30], 'one line a change of state')
    t.equal(logged.filter(({ level }) => level >= 50).length, 1, 'and no other error')
  })
}

/** A channel as something that `once` understands. */
function channelEvents (t: Test, channel: typeof storeFailed | typeof storeRecovered): EventTarget {
  const target = new EventTarget()
  const listener = (): void => { target.dispatchEvent(new Event('message')) }
  channel.subscribe(listener)
  t.teardown(() => channel.unsubscribe(listener))
  return target
}

/** Looks again after each turn of the load. */
async function until (holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5))
}

async function withRedis (t: Test, settings: Partial<LimiterOptions> = {}) {
  const redis = await startRedis(t)
  const client = redis.client()
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(limiter, { redis: client, policies: { client: { rate: 0.1, burst: 2, key: 'address' } }, ...settings })
  app.get('/', async () => 'ok')
  await app.ready()
  return { redis, client, app }
}

t.test('a policy that isn\'t exposed isn\'t named while Redis is away', options, async (t) => {
  const { redis, app } = await withRedis(t, { policies: { secret: { rate: 1, burst: 5, expose: false, onStoreError: 'closed' } } })
  await redis.kill()
  const { statusCode, body } = await app.inject('/')
  t.equal(statusCode, 503)
  t.notMatch(body, /secret/)
})

t.test('a slow Redis costs one request the timeout, and the next nothing', options, async (t) => {
  const { client, app } = await withRedis(t)
  await app.inject('/')
  await client.call('CLIENT', 'PAUSE', '3000', 'ALL')
  const times: number[] = []
  for (let i = 0; i < 6; i++) {
    const began = performance.now()
    t.equal((await app.inject('/')).statusCode, i < 2 ? 200 : 429, 'limited in this process\'s memory')
    times.push(performance.now() - began)
  }
  t.ok(times[0]! >= 99 && times[0]! < 2_500, `the first, before Redis answers: ${times[0]} ms`)
  // The machine may stall in one of them.
  t.ok(Math.min(...times.slice(1)) < 90, `then ${times.slice(1).join(', ')} ms`)
})

t.test('a stall of our own event loop isn\'t taken for a slow Redis', options, async (t) => {
  const { app } = await withRedis(t, { storeTimeout: 1_200 })
  const failures: unknown[] = []
  const listener = (message: unknown): void => { failures.push(message) }
  storeFailed.subscribe(listener)
  t.teardown(() => storeFailed.unsubscribe(listener))
  await app.limiter.allow('client', 'warm up')
  const decision = app.limiter.allow('client', 'a')
  // After the command has been written to the socket.
  setImmediate(() => {
    const until = performance.now() + 1_500
    while (performance.now() < until);
  })
  t.ok(await decision)
  t.same(failures, [])
})

t.test('the same answers as with memory: fields, refusals, waits', options, async (t) => {
  const { app } = await withRedis(t)
  const first = await app.inject('/')
  t.match(first.headers, { 'ratelimit-policy': '"client";q=2;w=20', ratelimit: '"client";r=1;t=10' })
  await app.inject('/')
  const refused = await app.inject('/')
  t.equal(refused.statusCode, 429)
  t.match(refused.headers, { 'retry-after': '10', ratelimit: '"client";r=0;t=10' })
  await t.rejects(app.limiter.wait('client', '127.0.0.1', { timeout: 5000 }), { code: 'FC_ERR_LIMITED', retryAfter: 5 })
  const held = await app.limiter.reserve('client', '127.0.0.1')
  t.ok(held.ok && Math.abs(held.delay - 10_000) < 500)
  await held.cancel()
  t.ok((await app.limiter.peek('client', '127.0.0.1')).tokens >= 0)
})

t.test('clients that leave while they wait cost nobody a token: on Redis', options, async (t) => {
  const { app } = await withRedis(t, { policies: { out: { rate: 5, burst: 5, routes: 'named' } } })
  await app.limiter.allow('out', undefined, 5)
  // The server knows the script from now on: otherwise it is sent again, after the peek below.
  await (await app.limiter.reserve('out')).cancel()
  const controllers = Array.from({ length: 50 }, () => new AbortController())
  const waits = controllers.map(({ signal }) => app.limiter.wait('out', undefined, { signal }))
  const behind = app.limiter.wait('out').then(() => performance.now())
  const left = performance.now()
  for (const controller of controllers) controller.abort()
  await Promise.allSettled(waits)
  const { wait } = await app.limiter.peek('out')
  t.ok(wait <= 400, `the next one waits ${wait} ms, behind one`)
  t.ok(await behind - left < 2_000, 'that one moves up')
})

t.test('keys and policies that read alike on the wire to Redis have buckets of their own', options, async (t) => {
  const policy = { rate: NEVER, burst: 1, key: () => '', routes: 'named' } as const
  const names = ['a', 'a:b', 'a%3Ab', 'a b', '{a}', 'a}']
  const { app } = await withRedis(t, { policies: Object.fromEntries(names.map((name) => [name, policy])) })
  const keys = ['c', 'b:c', ':c', '{c}', 'c}', 'c\r\n', 'c\n', '\0c', '\u{1F600}', '\ud800', '\ud801', '\ufffd', 'x'.repeat(300), `${'x'.repeat(299)}\ud800`, `${'x'.repeat(299)}\ud801`, 'y'.repeat(1e6)]
  for (const name of names) {
    for (const key of keys) {
      t.same([await app.limiter.allow(name, key), await app.limiter.allow(name, key)], [true, false], JSON.stringify([name, key.slice(0, 20), key.slice(-1)]))
    }
  }
})

t.test('any key a client sends', options, async (t) => {
  const { app } = await withRedis(t, { policies: { key: { rate: NEVER, burst: 1, key: { header: 'x-api-key' } } } })
  for (const key of ['{a}b', '__proto__', 'a:b', '%3A', '*', '"', 'x'.repeat(5000)]) {
    const statuses = []
    for (let i = 0; i < 2; i++) statuses.push((await app.inject({ url: '/', headers: { 'x-api-key': key } })).statusCode)
    t.same(statuses, [200, 429], key.slice(0, 20))
  }
})
