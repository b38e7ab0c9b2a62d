/**
 * Compares stored tasks with bare BullMQ, with the same options on the same redis-server: how fast tasks are enqueued, 64 at a time, and how fast 1, 2
 * and 4 processes run empty ones, 64 at a time each. Each round measures both in turn, so that changes of the machine affect both. Printed are the
 * medians of the rounds and of the paired ratios. Measured is the built package.
 *
 *   npm run build && node --import ./loader/typescript.js bench/durable.ts [--rounds 7] [--tasks 20000] [--save]
 */
import { fork, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Queue, Worker } from 'bullmq'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import tasks, { defineTasks } from 'fastify-concurrency/tasks'
import { startRedis } from './lib/redis.mjs'
import { median, pairedRatio, Report } from './lib/report.mjs'

const CONCURRENCY = 64
const KEPT = 1_000

type Contender = 'ours' | 'bare'

async function buildOurs (path: string, prefix: string, consume: boolean): Promise<FastifyInstance> {
  const app = Fastify() as unknown as FastifyInstance
  const client = new Redis({ path, maxRetriesPerRequest: null })
  await app.register(tasks, { redis: client, prefix, consume, concurrency: CONCURRENCY, keep: { completed: KEPT }, tasks: defineTasks({ work: { handler: async () => {} } }) })
  app.addHook('onClose', async () => client.disconnect())
  return app
}

const connect = (path: string): Redis => new Redis({ path, maxRetriesPerRequest: null })
const bareOptions = (path: string, prefix: string): { connection: never, prefix: string } => ({ connection: connect(path) as never, prefix: `${prefix}:tasks` })

/** A process that runs the tasks of one contender until it is killed. */
async function consume (contender: Contender, path: string, prefix: string): Promise<void> {
  if (contender === 'ours') await (await buildOurs(path, prefix, true)).ready()
  else await new Worker('{work}', async () => {}, { ...bareOptions(path, prefix), concurrency: CONCURRENCY, removeOnComplete: { count: KEPT } }).waitUntilReady()
  process.send?.('ready')
}

/** One contender with some processes that consume: how it enqueues, and how its queue is told to wait and to go on. */
interface Team {
  enqueue: (n: number) => Promise<unknown>
  queue: Queue
  end: () => Promise<void>
}

async function start (contender: Contender, path: string, processes: number): Promise<Team> {
  const prefix = randomUUID()
  const children: ChildProcess[] = []
  for (let i = 0; i < processes; i++) {
    const child = fork(fileURLToPath(import.meta.url), ['consume', contender, path, prefix], { execArgv: process.execArgv })
    children.push(child)
    await once(child, 'message')
  }
  const app = contender === 'ours' ? await buildOurs(path, prefix, false) : undefined
  await app?.ready()
  const options = bareOptions(path, prefix)
  const queue = new Queue('{work}', options)
  await queue.waitUntilReady()
  const enqueue = app?.tasks.enqueue.bind(app.tasks) as unknown as (name: string, payload: object) => Promise<unknown>
  return {
    enqueue: app === undefined ? async (n) => queue.add('work', { n }, { jobId: randomUUID() }) : async (n) => enqueue('work', { n }),
    queue,
    async end () {
      for (const child of children) child.kill('SIGKILL')
      await queue.close()
      ;(options.connection as Redis).disconnect()
      await app?.close()
    }
  }
}

/** Enqueues while the queue is paused, then lets the processes run what it holds. Returns the ms of both. */
async function round ({ enqueue, queue }: Team, count: number): Promise<[enqueueMs: number, runMs: number]> {
  await queue.pause()
  let n = 0
  const before = performance.now()
  await Promise.all(Array.from({ length: CONCURRENCY }, async () => { while (n < count) await enqueue(n++) }))
  const enqueued = performance.now()
  await queue.resume()
  for (;;) {
    const { waiting = 0, active = 0 } = await queue.getJobCounts('waiting', 'active')
    if (waiting + active === 0) return [enqueued - before, performance.now() - enqueued]
    await sleep(2)
  }
}

async function measure (): Promise<void> {
  const report = new Report('durable', { rounds: '7', tasks: '20000' })
  const [rounds, count] = [report.number('rounds'), report.number('tasks')]
  const { path, stop } = await startRedis()
  const rates: Record<string, Record<Contender, number[]>> = {}
  const note = (what: string, contender: Contender, ms: number): void => { (rates[what] ??= { ours: [], bare: [] })[contender].push(count / (ms / 1_000)) }

  for (const processes of [1, 2, 4]) {
    const teams = { ours: await start('ours', path, processes), bare: await start('bare', path, processes) }
    // The first three rounds warm up: the code of 60,000 tasks is compiled, and a server runs for longer than that.
    for (let n = -3; n < rounds; n++) {
      for (const contender of n % 2 === 0 ? ['ours', 'bare'] as const : ['bare', 'ours'] as const) {
        const [enqueueMs, runMs] = await round(teams[contender], count)
        if (n < 0) continue
        if (processes === 1) note('enqueue', contender, enqueueMs)
        note(`run, ${processes} process${processes === 1 ? '' : 'es'}`, contender, runMs)
      }
    }
    await Promise.all([teams.ours.end(), teams.bare.end()])
  }
  await stop()
  report.table(`${count} empty tasks: medians of ${rounds} rounds`, Object.entries(rates).map(([what, { ours, bare }]) => {
    return { what, 'ours, tasks/s': Math.round(median(ours)), 'BullMQ, tasks/s': Math.round(median(bare)), 'ours ÷ BullMQ': pairedRatio(ours, bare) }
  }))
  for (const [what, { ours, bare }] of Object.entries(rates)) report.bar(`${what}: ours ÷ BullMQ`, pairedRatio(ours, bare), '>=', 0.9)
  report.end()
}

const [, , role, contender, path = '', prefix = ''] = process.argv
if (role === 'consume') await consume(contender as Contender, path, prefix)
else await measure()
