/**
 * Counts what one piece of work costs in code of the suite, on the main thread: the files that it passes through, and the calls. V8's precise coverage
 * counts each call. A job has an idle pool, a task a free slot, a request a full bucket, and a stored task an empty queue in Redis.
 *
 * node bench/way.mjs [--files] [job|task|limited|stored …]
 */
import { Session } from 'node:inspector/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import concurrency from 'fastify-concurrency'
import { definePolicies } from 'fastify-concurrency/limiter'
import { defineTasks } from 'fastify-concurrency/tasks'
import { Redis } from 'ioredis'
import { app as createApp } from './lib/app.mjs'
import { startRedis } from './lib/redis.mjs'
import { jobs } from './jobs.mjs'

const withFiles = process.argv.includes('--files')
const asked = process.argv.slice(2).filter((argument) => !argument.startsWith('--'))
const session = new Session()
session.connect()

/** Runs `work` until its code has settled, and then once with coverage. @param {string} title @param {() => Promise<unknown>} work */
async function count (title, work) {
  for (let run = 0; run < 20; run++) await work()
  await sleep(300)
  await session.post('Profiler.enable')
  await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false })
  await session.post('Profiler.takePreciseCoverage')
  await work()
  const { result } = await session.post('Profiler.takePreciseCoverage')
  await session.post('Profiler.stopPreciseCoverage')
  const files = result.flatMap(({ url, functions }) => {
    const path = /\/(?:dist\/)?((?:plugins|workers)\/.*)\.[jt]s$/.exec(url.split('?')[0] ?? '')?.[1]
    const calls = functions.reduce((sum, { ranges: [range] }) => sum + (range?.count ?? 0), 0)
    return path === undefined || url.includes('node_modules') || calls === 0 ? [] : [{ path, calls }]
  })
  console.log(`${title}: ${files.length} files, ${files.reduce((sum, { calls }) => sum + calls, 0)} calls`)
  if (withFiles) for (const { path, calls } of files.sort((a, b) => a.path.localeCompare(b.path))) console.log(`  ${String(calls).padStart(4)} ${path}`)
}

/** @type {Record<string, () => Promise<void>>} */
const kinds = {
  async job () {
    const app = createApp()
    await app.register(concurrency, { workers: { jobs, maxThreads: 1 } })
    await app.ready()
    await count('a job on an idle pool', () => app.workers.run('identity', 1))
    await app.close()
  },
  async task () {
    const app = createApp()
    await app.register(concurrency, { tasks: {} })
    await app.ready()
    await count('a task with a free slot', async () => {
      await app.tasks.submit('a', () => {}).done
    })
    await app.close()
  },
  async limited () {
    const app = createApp()
    await app.register(concurrency, { limiter: { policies: definePolicies({ all: { rate: 1e6, burst: 1e6, routes: 'all' } }) } })
    app.get('/', async () => 'served')
    await app.ready()
    await count('a limited request', () => app.inject('/'))
    await app.close()
  },
  async stored () {
    const { path, stop } = await startRedis()
    const redis = new Redis(path)
    const app = createApp()
    const tasks = defineTasks({ welcome: { handler: () => {} } })
    await app.register(concurrency, { redis, tasks: { tasks } })
    await app.ready()
    await count('a stored task', async () => {
      await app.tasks.enqueue(/** @type {never} */ ('welcome'))
      await sleep(100)
    })
    await app.close()
    redis.disconnect()
    await stop()
  }
}

for (const kind of asked.length > 0 ? asked : Object.keys(kinds)) await kinds[kind]?.()
