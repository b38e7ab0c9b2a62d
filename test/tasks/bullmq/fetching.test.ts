// How a process takes tasks from a Redis that refuses to give them, and what it does with one that it has taken too long ago.
import t from 'tap'
import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { Backoff } from '../../../plugins/tasks/bullmq/backoff.ts'
import { defineTasks } from '../../../plugins/tasks/index.ts'
import { logLines, rejection, until } from '../../helper.ts'
import { noRedis, startRedis } from '../../limiter/redis.ts'
import { build, enqueueOf } from './helper.ts'
import { eventually } from './processes.ts'

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
