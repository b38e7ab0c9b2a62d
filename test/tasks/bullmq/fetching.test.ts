// How a process takes tasks from a Redis that refuses to give them, and what it does with one that it has taken too long ago.
import t, { type Test } from 'tap'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import type { Redis } from 'ioredis'
import { Backoff } from '../../../plugins/tasks/bullmq/worker.ts'
import { defineTasks } from '../../../plugins/tasks/index.ts'
import { deferred, logLines, rejection, until } from '../../helper.ts'
import { noRedis, startRedis, type RedisServer } from '../../limiter/redis.ts'
import { build, enqueueOf } from './helper.ts'
import { eventually, recorded, startProcess } from './processes.ts'

const skip = await noRedis()
t.setTimeout(120_000)

/** Resolves to how many commands Redis has been given by scripts and clients. */
async function commands (redis: Redis): Promise<number> {
  const text = await redis.info('commandstats')
  return [...text.matchAll(/calls=(\d+)/g)].reduce((sum, [, calls]) => sum + Number(calls), 0)
}

t.test('Redis is full when a process starts: the process asks again after pauses, says so once, and runs the tasks when there is memory', { skip }, async (t) => {
  const server = await startRedis(t, { args: ['--maxmemory', '8mb', '--maxmemory-policy', 'noeviction'] })
  const admin = server.client()
  const prefix = randomUUID()
  const done = new Set<number>()
  const tasks = defineTasks({
    work: { handler: ({ n }: { n: number, padding: string }) => { done.add(n) } },
    other: { handler () {} }
  })
  const web = await build(t, server, { prefix, consume: false, tasks })
  await enqueueOf(web)('other')
  const padding = 'x'.repeat(100_000)
  let stored = 0
  const error = await rejection((async () => { for (;;) { await enqueueOf(web)('work', { n: stored, padding }); stored++ } })())
  t.match(error, { failure: 'OOM' })
  // A buffer that Redis frees must not make room.
  await admin.config('SET', 'maxmemory', '4mb')
  const { lines, logger } = logLines()
  const app = await build(t, server, { prefix, tasks }, { logger })
  const isAbout = ({ msg }: { msg: string }): boolean => /Redis gives this process/.test(msg)
  await until(() => lines.some(isAbout), 'it is logged')
  const before = await commands(admin)
  const startedAt = performance.now()
  await new Promise((resolve) => { setTimeout(resolve, 2_000) })
  const rate = (await commands(admin) - before) / (performance.now() - startedAt) * 1_000
  t.comment(`${Math.round(rate)} commands a second`)
  t.ok(rate < 200, `${Math.round(rate)} commands a second`)
  t.match(lines.filter(isAbout), [{ level: 50, msg: /no stored tasks/, err: { message: /OOM/ } }], 'one line')
  t.equal(done.size, 0)
  const stopping = await build(t, server, { prefix, tasks })
  await stopping.close()
  await admin.config('SET', 'maxmemory', '0')
  await eventually(async () => done.size === stored, 'all run')
  await until(() => lines.filter(isAbout).length === 2, 'one line says that it works again')
  t.match(lines.filter(isAbout)[1], { level: 30 })
  await app.close()
})

t.test('Redis is full for longer than a lock lives: the signal of the task that runs aborts, and the task runs again when there is memory', { skip }, async (t) => {
  const server = await startRedis(t, { args: ['--maxmemory-policy', 'noeviction'] })
  const admin = server.client()
  const prefix = randomUUID()
  const reasons: string[] = []
  let runs = 0
  const tasks = defineTasks({
    work: {
      handler: async (_payload: unknown, { signal }) => {
        if (++runs > 1) return
        await once(signal, 'abort')
        reasons.push((signal.reason as Error).message)
        throw signal.reason
      }
    }
  })
  const app = await build(t, server, { prefix, tasks, lockDuration: 1_000 })
  const { done } = await enqueueOf(app)('work')
  await until(() => runs === 1, 'it runs')
  await admin.config('SET', 'maxmemory', '1')
  await until(() => reasons.length === 1, 'its signal aborts')
  t.match(reasons, [/its lock has expired/])
  t.equal(runs, 1, 'nothing begins while Redis is full')
  await admin.config('SET', 'maxmemory', '0')
  await done
  t.equal(runs, 2)
})

t.test('Redis is full when many tasks are due: what ends brings the next one, which no pause holds up', { skip }, async (t) => {
  const server = await startRedis(t)
  let done = 0
  const { lines, logger } = logLines()
  const app = await build(t, server, { tasks: defineTasks({ work: { handler () { done++ } } }) }, { logger })
  await Promise.all(Array.from({ length: 300 }, async (_, n) => enqueueOf(app)('work', n, { delay: 1_000 })))
  await server.client().config('SET', 'maxmemory', '1')
  // The script that finds what is due moves all of it and takes one task. What only takes one is refused.
  await until(() => done === 300, 'all run')
  t.match(lines.filter(({ level }) => level === 50), [{ msg: /no stored tasks/ }], 'it was refused meanwhile')
})

t.test('a pause between tries ends early by what interrupts it, once each, and for good when nobody asks any more', async (t) => {
  const backoff = new Backoff(2)
  for (let n = 0; n < 3; n++) backoff.interrupt()
  for (let n = 0; n < 10; n++) backoff.refused()
  t.equal(await backoff.pause(), false)
  t.equal(await backoff.pause(), false, 'as many as the bound')
  let over: boolean | undefined
  const pause = backoff.pause().then((value) => { over = value })
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(over, undefined, 'no more')
  backoff.interrupt()
  await pause
  t.equal(over, false)
  const last = backoff.pause()
  backoff.end()
  t.same([await last, await backoff.pause()], [false, false])
})

interface Wire {
  /** A URL that leads to the server. */
  readonly url: string
  /** Resolves when the server has sent a text, which is held back from then on, with all that follows it. */
  readonly held: Promise<void>
  /** Sends what was held back. */
  release (): void
}

/** A connection to a server that holds back what the server sends, from `text` on. */
async function wire (t: Test, server: RedisServer, text: string): Promise<Wire> {
  const held = deferred()
  const queue: Array<() => void> = []
  let isReleased = false
  const proxy = createServer((socket) => {
    const upstream = connect(server.path)
    let isHolding = false
    socket.pipe(upstream)
    upstream.on('data', (chunk: Buffer) => {
      if (!isReleased && chunk.includes(text)) {
        isHolding = true
        held.resolve()
      }
      if (isHolding && !isReleased) queue.push(() => socket.write(chunk))
      else socket.write(chunk)
    })
    for (const each of [socket, upstream]) {
      each.on('error', () => {})
      t.teardown(() => each.destroy())
    }
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => proxy.close())
  return {
    url: `redis://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    held: held.promise,
    release () {
      isReleased = true
      for (const send of queue.splice(0)) send()
    }
  }
}

/** A task whose effect names the process: its payload is what a Wire finds. */
const MARK = 'taken-task'
const LOCK = 1_000
const names = defineTasks({ effect: { handler () {} } })
const runs = async (redis: Redis): Promise<string[]> => (await recorded(redis, 'begun')).get(MARK) ?? []

/** A process has asked for a task of so many ms, and the answer of Redis is held back. */
async function taken (t: Test, ms: number) {
  const server = await startRedis(t)
  const redis = server.client()
  const way = await wire(t, server, MARK)
  const first = await startProcess(t, { path: way.url, lockDuration: LOCK })
  const web = await build(t, server, { prefix: 'fastify-concurrency', consume: false, tasks: names })
  const { done } = await enqueueOf(web)('effect', { n: MARK, ms })
  await way.held
  return { server, redis, way, first, done }
}

t.test('a process that is frozen after it has taken a task does not start it when it wakes and another process has it', { skip }, async (t) => {
  const { server, redis, way, first, done } = await taken(t, 3_000)
  process.kill(first.pid, 'SIGSTOP')
  way.release()
  const second = await startProcess(t, { path: server.path, lockDuration: LOCK })
  await eventually(async () => (await runs(redis)).length > 0, 'it runs elsewhere')
  process.kill(first.pid, 'SIGCONT')
  // Its answer comes after what it has read before.
  t.same(await first.ask({ do: 'cancel', id: 'effect:none' }), { cancelled: false })
  await done
  t.same(await runs(redis), [String(second.pid)], 'it has begun once')
  t.equal(await first.terminate(), 0, 'the process that was frozen is well')
})

t.test('an answer of Redis that is late for longer than a lock lasts: the task is started once', { skip }, async (t) => {
  const { redis, way, first, done } = await taken(t, 500)
  await eventually(async () => (await redis.keys('*:lock')).length === 0, 'its lock has expired')
  way.release()
  await done
  t.same(await runs(redis), [String(first.pid)])
})

t.test('an answer of Redis that is late, while the lock has not expired: the task is started', { skip }, async (t) => {
  const { redis, way, first, done } = await taken(t, 0)
  const [lock = ''] = await redis.keys('*:lock')
  t.equal(await redis.pexpire(lock, 60_000), 1)
  await new Promise((resolve) => { setTimeout(resolve, 2 * LOCK) })
  way.release()
  await done
  t.same(await runs(redis), [String(first.pid)])
  t.equal(await redis.hget(lock.slice(0, -':lock'.length), 'stc'), null, 'and was not taken for one that has lost its process')
})
