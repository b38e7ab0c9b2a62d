/**
 * Measures `concurrency: { perKey }` of stored tasks, with 4 processes and a redis-server: how long tasks of 19 light tenants wait beside one tenant
 * with 10,000 tasks, and how long without it; the most tasks of a key that ran at once; and how fast empty tasks are enqueued and run with `perKey`, and
 * without. Times are of the clock that all processes of the machine share. Measured is the built package.
 *
 *   npm run build && node --import ./loader/typescript.js bench/per-key.ts [--rounds 2] [--heavy 10000] [--save]
 */
import { fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import tasks, { defineTasks } from 'fastify-concurrency/tasks'
import { startRedis } from './lib/redis.mjs'
import { median, Report } from './lib/report.mjs'

const PROCESSES = 4
const PER_KEY = 2
const CONCURRENCY = 16
const LIGHT_TENANTS = 19
/** How long a task runs, how often a light tenant has one, and for how long all this is measured, in ms. */
const [RUN_MS, INTERVAL_MS, MEASURED_MS] = [20, 200, 6_000]
/** The empty tasks of a round, and their keys. */
const [EMPTY, KEYS] = [5_000, 64]

interface Work { key: string, at: number }
/** A task that has run: when it was enqueued, began and ended, in ms. */
interface Run { key: string, at: number, began: number, ended: number }

const now = (): number => Number(process.hrtime.bigint()) / 1e6

async function build (path: string, prefix: string, consume: boolean, ran: (run: Run) => void = () => {}): Promise<FastifyInstance> {
  const app = Fastify() as unknown as FastifyInstance
  const client = new Redis({ path, maxRetriesPerRequest: null })
  await app.register(tasks, {
    redis: client,
    prefix,
    consume,
    concurrency: CONCURRENCY,
    tasks: defineTasks({
      work: {
        async handler ({ key, at }: Work) {
          const began = now()
          await sleep(RUN_MS)
          ran({ key, at, began, ended: now() })
        },
        concurrency: { perKey: PER_KEY }
      },
      bounded: { handler: async () => {}, concurrency: { perKey: PER_KEY } },
      free: { handler: async () => {} }
    })
  })
  app.addHook('onClose', async () => client.disconnect())
  await app.ready()
  return app
}

/** A process that runs tasks until it is killed, and says what it has run. */
async function consume (path: string, prefix: string): Promise<void> {
  const runs: Run[] = []
  await build(path, prefix, true, (run) => { runs.push(run) })
  setInterval(() => { process.send?.(runs.splice(0)) }, 100)
  process.send?.([])
}

interface Team {
  enqueue: (name: string, work: Work) => Promise<unknown>
  app: FastifyInstance
  runs: Run[]
  end: () => Promise<void>
}

async function start (path: string): Promise<Team> {
  const prefix = randomUUID()
  const runs: Run[] = []
  const children = await Promise.all(Array.from({ length: PROCESSES }, async () => {
    const child = fork(fileURLToPath(import.meta.url), ['consume', path, prefix], { execArgv: process.execArgv })
    await once(child, 'message')
    child.on('message', (more: Run[]) => { runs.push(...more) })
    return child
  }))
  const app = await build(path, prefix, false)
  const enqueue = app.tasks.enqueue.bind(app.tasks) as unknown as (name: string, work: Work, options: object) => Promise<unknown>
  return {
    enqueue: async (name, work) => enqueue(name, work, { key: work.key }),
    app,
    runs,
    async end () {
      for (const child of children) child.kill('SIGKILL')
      await app.close()
    }
  }
}

/** Enqueues tasks, 64 at a time. */
async function enqueueMany (count: number, enqueue: (n: number) => Promise<unknown>): Promise<void> {
  let n = 0
  await Promise.all(Array.from({ length: 64 }, async () => { while (n < count) await enqueue(n++) }))
}

/** Lets the light tenants have their tasks, beside a number of tasks of another one. Returns all that has run. */
async function measureWaits (path: string, heavy: number): Promise<Run[]> {
  const { enqueue, runs, end } = await start(path)
  await enqueueMany(heavy, async () => enqueue('work', { key: 'heavy', at: now() }))
  let expected = 0
  const endsAt = now() + MEASURED_MS
  await Promise.all(Array.from({ length: LIGHT_TENANTS }, async (_, tenant) => {
    await sleep(tenant * INTERVAL_MS / LIGHT_TENANTS)
    while (now() < endsAt) {
      expected++
      void enqueue('work', { key: `light${tenant}`, at: now() })
      await sleep(INTERVAL_MS)
    }
  }))
  const isLight = ({ key }: Run): boolean => key !== 'heavy'
  const giveUpAt = now() + 20_000
  while (runs.filter(isLight).length < expected && now() < giveUpAt) await sleep(50)
  await end()
  if (runs.filter(isLight).length < expected) throw new Error('Tasks of light tenants have not run within 20 s')
  return runs
}

/** Returns the most tasks of one key that ran at once. */
function mostAtOnce (runs: readonly Run[]): number {
  const most = new Map<string, number>()
  const running = new Map<string, number>()
  // What ends at the moment at which another one begins did not run beside it.
  const events = runs.flatMap(({ key, began, ended }) => [{ key, at: began, by: 1 }, { key, at: ended, by: -1 }]).sort((a, b) => a.at - b.at || a.by - b.by)
  for (const { key, by } of events) {
    const count = (running.get(key) ?? 0) + by
    running.set(key, count)
    most.set(key, Math.max(most.get(key) ?? 0, count))
  }
  return Math.max(...most.values())
}

/** Enqueues empty tasks while their name is paused, then lets the processes run them. Returns the ms of both. */
async function measureEmpty ({ app, enqueue }: Team, name: 'bounded' | 'free'): Promise<[enqueueMs: number, runMs: number]> {
  const calls = app.tasks as unknown as Record<'pause' | 'resume', (name: string) => Promise<void>>
  await calls.pause(name)
  const before = now()
  await enqueueMany(EMPTY, async (n) => enqueue(name, { key: `k${n % KEYS}`, at: 0 }))
  const enqueued = now()
  await calls.resume(name)
  for (;;) {
    const queue = (await app.tasks.queues()).find((queue) => queue.name === name)
    if (queue !== undefined && queue.waiting + queue.running + queue.delayed === 0) return [enqueued - before, now() - enqueued]
    await sleep(5)
  }
}

async function measure (): Promise<void> {
  const report = new Report('per-key', { rounds: '2', heavy: '10000' })
  const [rounds, heavy] = [report.number('rounds'), report.number('heavy')]
  const { path, stop } = await startRedis()
  const waits: Record<'alone' | 'beside', number[]> = { alone: [], beside: [] }
  let most = 0
  for (let n = 0; n < rounds; n++) {
    for (const how of n % 2 === 0 ? ['alone', 'beside'] as const : ['beside', 'alone'] as const) {
      const runs = await measureWaits(path, how === 'beside' ? heavy : 0)
      most = Math.max(most, mostAtOnce(runs))
      waits[how].push(...runs.flatMap(({ key, at, began }) => key === 'heavy' ? [] : [began - at]))
    }
  }
  const statistics = {
    mean: (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length,
    p50: (values: number[]) => median(values),
    p99: (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length * 0.99)] as number
  }
  report.table(`waits of ${LIGHT_TENANTS} light tenants, ms, alone and beside one with ${heavy} tasks`,
    Object.entries(statistics).map(([what, of]) => ({ what, alone: of(waits.alone), beside: of(waits.beside), ratio: of(waits.beside) / of(waits.alone) })))

  const team = await start(path)
  const times: Record<'bounded' | 'free', Array<[number, number]>> = { bounded: [], free: [] }
  // The first round warms up.
  for (let n = -1; n < rounds; n++) {
    for (const name of n % 2 === 0 ? ['bounded', 'free'] as const : ['free', 'bounded'] as const) {
      const took = await measureEmpty(team, name)
      if (n >= 0) times[name].push(took)
    }
  }
  await team.end()
  await stop()
  const rate = (name: 'bounded' | 'free', index: 0 | 1): number => EMPTY / median(times[name].map((took) => took[index])) * 1_000
  report.table(`${EMPTY} empty tasks of ${KEYS} keys, ${PROCESSES} processes, tasks a second`, ([['enqueue', 0], ['run', 1]] as const).map(([what, index]) =>
    ({ what, 'with perKey': Math.round(rate('bounded', index)), without: Math.round(rate('free', index)), 'with ÷ without': rate('bounded', index) / rate('free', index) })))
  report.bar('mean wait of light tenants: beside a heavy one ÷ alone', statistics.mean(waits.beside) / statistics.mean(waits.alone), '<=', 2)
  report.bar('the most tasks of a key that ran at once', most, '<=', PER_KEY)
  report.end()
}

const [, , role, path = '', prefix = ''] = process.argv
if (role === 'consume') await consume(path, prefix)
else await measure()
