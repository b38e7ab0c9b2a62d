import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { Cluster, Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { createClient, createClientPool, createCluster } from 'redis'
import { adapt, type RedisClient } from '../../../plugins/limiter/stores/redis-client.ts'
import { takeOne, type Charge } from '../../../plugins/limiter/stores/store.ts'
import { RedisStore } from '../../../plugins/limiter/stores/redis-store.ts'
import { contract, charge, NEVER } from './contract.ts'
import { noRedis, startRedis, type RedisServer } from '../redis.ts'

const skip = await noRedis()
const options = skip === false ? {} : { skip }

const pass = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, Math.ceil(ms)))

/** The keys of the store, without its prefix. */
async function stored (client: Redis): Promise<string[]> {
  return (await client.keys('*')).sort()
}

function storeOn (client: RedisClient, prefix = 'app'): RedisStore {
  return new RedisStore(adapt('redis', client), prefix)
}

/** What GLIDE does, with its own words for a script that the server doesn't know. Its binary isn't a dependency of the tests. */
function likeGlide (client: Redis): RedisClient {
  return {
    async customCommand ([name = '', ...args]) {
      try {
        return await client.call(name, ...args)
      } catch (error) {
        throw new Error((error as Error).message.replace(/^NOSCRIPT (.*)/, 'An error was signalled by the server: - NoScriptError: $1'))
      }
    }
  }
}

async function nodeRedis (t: Test, { path }: RedisServer) {
  const client = createClient({ socket: { path, tls: false } })
  client.on('error', () => {})
  await client.connect()
  t.teardown(() => client.destroy())
  return client
}

const clients: Record<string, (t: Test, redis: RedisServer) => Promise<RedisClient>> = {
  ioredis: async (_t, redis) => redis.client(),
  'node-redis': nodeRedis,
  'Valkey GLIDE': async (_t, redis) => likeGlide(redis.client())
}

for (const [name, connect] of Object.entries(clients)) {
  t.test(`the contract, on ${name}`, options, async (t) => {
    const redis = await startRedis(t)
    const client = await connect(t, redis)
    let run = 0
    contract(t, async () => ({ store: storeOn(client, `run${run++}`), pass }))
  })
}

/** The value of a bucket, as the script writes it: a byte, then numbers. */
function valueOf (...numbers: number[]): Buffer {
  return Buffer.concat([Buffer.of(1), Buffer.from(Float64Array.from(numbers).buffer)])
}

t.test('with a real server', options, async (t) => {
  const redis: RedisServer = await startRedis(t)
  const client = redis.client()
  t.beforeEach(() => client.flushall())

  t.test('after the clock was set back, a lockout takes no longer than it did at first', async (t) => {
    const locking = charge({ policy: 'a', rate: 1_000, burst: 1, lockout: { after: 1, duration: 5_000 } })
    // As a server has written it whose clock was an hour ahead.
    await client.set('{app:limiter}:a:k', valueOf(0, Date.now(), 1000, 0, 0, Date.now() + 3_600_000))
    const { wait, lockedOut } = await takeOne(storeOn(client), locking, 0)
    t.ok(lockedOut)
    t.equal(wait, 5_000)
  })

  t.test('every key expires, after the time until it is full', async (t) => {
    const store = storeOn(client)
    await store.take([charge({ policy: 'a', rate: 1, burst: 10, cost: 10 }), charge({ policy: 'b', key: 'x', rate: NEVER })], 0)
    await store.take([charge({ policy: 'c', rate: 1e-300, burst: 10, cost: 10 })], 0)
    const slow = charge({ policy: 'd', rate: 1, burst: 1 })
    for (let i = 0; i < 2; i++) await store.take([slow], 1e6)
    const last = await takeOne(store, slow, 1e6)
    await store.giveBack(slow, last)
    const keys = await stored(client)
    t.same(keys, ['{app:limiter}:a:k', '{app:limiter}:b:x', '{app:limiter}:c:k', '{app:limiter}:d:k'])
    const lives = await Promise.all(keys.map((key) => client.pttl(key)))
    t.ok(lives.every((life) => life > 0), `lives: ${lives.join(', ')}`)
    t.ok(lives[0]! > 9_000 && lives[0]! <= 10_001)
    t.ok(lives[3]! > 1_000 && lives[3]! <= 2_001)
  })

  t.test('what is full again is gone', async (t) => {
    const store = storeOn(client)
    await store.take([charge({ rate: 1000, burst: 5 })], 0)
    await pass(20)
    t.same(await stored(client), [])
  })

  t.test('looking and being refused write nothing', async (t) => {
    const store = storeOn(client)
    await store.take([charge({ cost: 0 })], 0)
    await store.take([charge({ policy: 'a' }), charge({ policy: 'b', burst: 1, cost: 2 })], 0)
    t.same(await stored(client), [])
  })

  t.test('one command a decision, however many policies; a script flush costs one more', async (t) => {
    const store = storeOn(client)
    const plan = ['a', 'b', 'c', 'd'].map((policy) => charge({ policy, burst: 1000 }))
    await store.take(plan, 0)
    await client.config('RESETSTAT')
    for (let i = 0; i < 50; i++) await store.take(plan, 0)
    const stats = await client.info('commandstats')
    t.match(stats, /cmdstat_evalsha:calls=50,/)
    t.notMatch(stats, /cmdstat_eval:/)
  })

  t.test('what begins in one turn is carried out in its order, by few commands', async (t) => {
    const store = storeOn(client)
    await store.take([charge({ cost: 0 })], 0)
    await client.config('RESETSTAT')
    const two = [charge({ policy: 'a', burst: 100 }), charge({ policy: 'b', key: 'x', burst: 50, lockout: { after: 1, duration: 5_000 } })]
    const one = charge({ burst: 2 })
    const [a, b, , c, d, ...rest] = await Promise.all([
      takeOne(store, one, 0), takeOne(store, { ...one, cost: 2 }, 0), store.refund(one, { at: Date.now(), tokens: 1 }), takeOne(store, { ...one, cost: 2 }, 0), store.take(two, 0),
      ...Array.from({ length: 15 }, () => takeOne(store, charge({ policy: 'c', burst: 10 }), 0))
    ])
    t.strictSame([a.granted, b.granted, c.granted], [true, false, true], 'the token that came back was taken again')
    t.strictSame(d.balances.map(({ charge, tokens }) => [charge, Math.round(tokens)]), [[two[0], 99], [two[1], 49]])
    t.equal(rest.filter(({ granted }) => granted).length, 10)
    t.match(await client.info('commandstats'), /cmdstat_evalsha:calls=3,/, '20 operations, 8 in a command')
  })

  t.test('a server that has decided knows how to take tokens back: a second way there would be overtaken by what follows', async (t) => {
    const store = storeOn(client)
    const all = charge({ burst: 5, cost: 5 })
    await client.script('FLUSH')
    await store.take([all], 0)
    await client.config('RESETSTAT')
    const [, { tokens }] = await Promise.all([store.refund(all, { at: Date.now(), tokens: 0 }), takeOne(store, charge({ burst: 5 }), 0)])
    t.equal(Math.round(tokens), 4)
    t.notMatch(await client.info('commandstats'), /cmdstat_eval:/)
  })

  t.test('a script flush in the middle of a run is not noticed', async (t) => {
    const store = storeOn(client)
    const granted: boolean[] = []
    for (let i = 0; i < 30; i++) {
      const [decision] = await Promise.all([store.take([charge({ burst: 20 })], 0), i % 3 === 0 ? client.script('FLUSH') : undefined])
      granted.push(decision.granted)
    }
    t.equal(granted.filter(Boolean).length, 20)
  })

  t.test('a value that isn\'t ours counts as a full bucket and is written over', async (t) => {
    const store = storeOn(client)
    for (const spoil of [
      ...['garbage', 'x'.repeat(33), '\x01', `\x01${'x'.repeat(31)}`, '0 5'].map((text) => () => client.set('{app:limiter}:p:k', text)),
      ...[NaN, Infinity, -Infinity].flatMap((odd) => [0, 1, 2, 3, 4, 5].map((i) => () => client.set('{app:limiter}:p:k', valueOf(...Array.from({ length: 6 }, (_, j) => i === j ? odd : 0))))),
      () => client.lpush('{app:limiter}:p:k', 'x'), () => client.set('{app:limiter}:p:k', '')
    ]) {
      await client.flushall()
      await spoil()
      const { granted, balances } = await store.take([charge()], 0)
      t.ok(granted)
      t.ok(Math.abs(balances[0]!.tokens - 2) < 1e-3)
    }
  })

  t.test('the server\'s clock set back: a little grants nothing, a lot doesn\'t shut everybody out', async (t) => {
    const store = storeOn(client)
    const { at } = await store.take([charge({ cost: 0 })], 0)
    await client.set('{app:limiter}:p:k', valueOf(0, at + 9_000, 0, 0), 'PX', 60_000)
    const { granted, balances } = await store.take([charge({ rate: 1 })], 0)
    t.notOk(granted)
    t.ok(balances[0]!.wait > 9_000 && balances[0]!.wait <= 10_000, `tokens flow when the clock is where it was: ${balances[0]!.wait}`)
    await client.set('{app:limiter}:p:k', valueOf(0, at + 3_600_000, 0, 0), 'PX', 60_000)
    t.notOk((await store.take([charge({ rate: 0.1 })], 0)).granted, 'an hour: the tokens are the same')
    t.ok((await store.take([charge({ rate: 0.1 })], 11_000)).granted)
    t.ok((await client.getBuffer('{app:limiter}:p:k'))!.readDoubleLE(9) < at + 60_000, 'and flow again from now on')
  })

  t.test('during a rolling deploy, processes of an earlier version and of this one share their buckets', async (t) => {
    const text = await readFile(new URL('../../fixtures/limiter-take-earlier.lua', import.meta.url), 'utf8')
    /** Decides as an earlier version did: by a script of its own, whose arguments differ. */
    const earlier = async ({ rate, burst, cost, lockout }: Charge, maxWait: number): Promise<number[]> => {
      const args = [maxWait, rate, burst, cost, lockout?.after ?? 0, lockout?.duration ?? 0]
      const reply = await client.eval(text, 1, '{app:limiter}:p:k', ...args) as string
      const [granted, , , tokens, wait, lockedOut] = reply.split(' ').map(Number)
      return [granted, tokens, wait, lockedOut].map((number) => Math.round(number!))
    }
    const store = storeOn(client)
    const now = async (charge: Charge, maxWait: number): Promise<number[]> => {
      const { granted, tokens, wait, lockedOut } = await takeOne(store, charge, maxWait)
      return [Number(granted), Math.round(tokens), Math.round(wait), Number(lockedOut)]
    }
    const login = charge({ burst: 4, lockout: { after: 3, duration: 2e9 } })
    t.strictSame(await earlier(login, 0), [1, 3, 0, 0])
    t.strictSame(await now(login, 0), [1, 2, 0, 0])
    t.strictSame(await earlier({ ...login, cost: 2 }, 0), [1, 0, 0, 0])
    t.equal((await now(login, 0))[0], 0, 'a refusal')
    t.equal((await earlier(login, 0))[0], 0, 'and a second one')
    t.strictSame(await now(login, 0), [0, 0, 2e9, 1], 'the third, of both together, locks the key')
    t.equal((await earlier(login, 0))[3], 1)

    await client.flushall()
    const mail = charge({ rate: 0.001, burst: 1 })
    const delays = [await now(mail, 1e9), await earlier(mail, 1e9), await now(mail, 1e9), await earlier(mail, 1e9)]
    t.strictSame(delays.map(([, , wait]) => Math.round(wait! / 1e6)), [0, 1, 2, 3], 'one behind the other')
  })

  t.test('a replica that became read-only is an error, for onStoreError to decide', async (t) => {
    await client.call('REPLICAOF', '127.0.0.1', '1')
    t.teardown(() => client.call('REPLICAOF', 'NO', 'ONE'))
    await t.rejects(Promise.resolve(storeOn(client).take([charge()], 0)), { message: /READONLY/ })
  })
})

/** Something on a socket that answers every command with `reply`. */
async function impostor (t: Test, reply: string): Promise<Redis> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', (data) => {
      socket.write(reply.repeat(data.toString().match(/^\*\d+\r$/gm)?.length ?? 0))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const client = new Redis({ port, host: '127.0.0.1', enableReadyCheck: false, maxRetriesPerRequest: 0, disableClientInfo: true })
  client.on('error', () => {})
  t.teardown(() => { client.disconnect(); server.close() })
  return client
}

t.test('a server that answers with something else is an error, never a decision', async (t) => {
  for (const reply of [
    ':1\r\n', '+OK\r\n', '$-1\r\n', '*0\r\n', '$9\r\n1 2 abc 4\r\n', '$3\r\n1 2\r\n', '*4\r\n:1\r\n:2\r\n:3\r\n:4\r\n', '$9\r\n1 1 inf 0\r\n', '$8\r\n1 1 1 -1\r\n', '$7\r\n7 1 1 0\r\n',
    '-MOVED 1 127.0.0.1:1\r\n',
    '-LOADING Redis is loading the dataset in memory\r\n', '-OOM command not allowed\r\n', '-CLUSTERDOWN The cluster is down\r\n'
  ]) {
    const store = storeOn(await impostor(t, reply))
    await t.rejects(Promise.resolve(store.take([charge()], 0)), Error, JSON.stringify(reply))
  }
})

t.test('the clients of ioredis and node-redis fit without a cast', async (t) => {
  const redis = new Redis({ lazyConnect: true })
  const cluster = new Cluster([], { lazyConnect: true })
  for (const client of [redis, cluster, createClient(), createClientPool(), createCluster({ rootNodes: [] })]) t.type(adapt('redis', client), 'function')
  redis.disconnect()
  cluster.disconnect()
})
