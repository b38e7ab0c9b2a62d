// What stored tasks survive: real processes and a real redis-server, of which one is killed, frozen or cut off while work goes on.
import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { setTimeout as sleep } from 'node:timers/promises'
import { QueueEvents } from 'bullmq'
import type { Redis } from 'ioredis'
import tasks, { defineTasks, type TasksOptions } from '../../../plugins/tasks/index.ts'
import { noRedis, startRedis, type RedisServer, type RedisServerOptions } from '../../limiter/redis.ts'
import type { TaskProcessOptions } from '../../fixtures/task-process.ts'
import { eventually, recorded, startProcess, type TaskProcess } from './processes.ts'

const skip = await noRedis()
// One after the other: each has processes of its own on the machine's few cores.
t.jobs = 1
t.setTimeout(300_000)

const LOCK = 1_000
/** Where the time is measured: a machine that is held up for half a second must not decide. */
const MEASURED = { lockDuration: 3_000 }
const STORE_TIMEOUT = 500
/** A busy machine may run a timer this much later, in ms. */
const SLACK = 1_500

interface Scene {
  server: RedisServer
  redis: Redis
  start (options?: Partial<TaskProcessOptions>): Promise<TaskProcess>
  /** An app in this process that only enqueues. */
  web: FastifyInstance
  enqueue (task: string, payload?: unknown, options?: object): Promise<{ id: string, done: Promise<unknown> }>
}

async function scene (t: Test, serverOptions: RedisServerOptions = {}, options: TasksOptions = {}): Promise<Scene> {
  const server = await startRedis(t, serverOptions)
  const redis = server.client({ maxRetriesPerRequest: null })
  const web = Fastify() as unknown as FastifyInstance
  t.teardown(async () => web.close())
  const names = Object.fromEntries(['effect', 'wait', 'gate', 'poison'].map((name) => [name, { handler () {} }]))
  await web.register(tasks, { redis, consume: false, storeTimeout: STORE_TIMEOUT, tasks: defineTasks(names), ...options })
  await web.ready()
  return {
    server,
    redis,
    web,
    start: async (more = {}) => startProcess(t, { path: server.path, lockDuration: LOCK, concurrency: 8, ...more }),
    enqueue: web.tasks.enqueue.bind(web.tasks) as never
  }
}

/** Enqueues tasks `from` to `to`, some at a time, as clients would. */
async function enqueueEffects ({ enqueue }: Scene, from: number, to: number, ms: (n: number) => number): Promise<void> {
  for (let n = from; n < to; n += 100) {
    await Promise.all(Array.from({ length: Math.min(100, to - n) }, async (_, i) => enqueue('effect', { n: n + i, ms: ms(n + i) })))
  }
}

/** The work of all processes outlasts the kills on two cores: a process that is killed later would be idle. */
const TASKS = 1_600
const KILLS = 8

/** Ends processes one after the other, at random moments while they work; there are always two, and a third that starts. */
async function endOneByOne (stage: Scene, start: () => Promise<TaskProcess>, end: (process: TaskProcess) => Promise<void>): Promise<TaskProcess[]> {
  const crew = await Promise.all([start(), start()])
  for (let kill = 0; kill < KILLS; kill++) {
    const next = start()
    await sleep(Math.random() * 100)
    const [victim] = crew.splice(0, 1)
    await end(victim as TaskProcess)
    crew.push(await next)
  }
  await eventually(async () => (await recorded(stage.redis, 'effects')).size === TASKS && idle(stage), 'all work is done', 200_000)
  return crew
}

async function idle ({ web }: Scene): Promise<boolean> {
  const [queue] = await web.tasks.queues()
  return queue?.waiting === 0 && queue.delayed === 0 && queue.running === 0
}

t.test('SIGKILL of a worker process, again and again: each effect at least once, and another time only if its process was killed', { skip }, async (t) => {
  const stage = await scene(t)
  await enqueueEffects(stage, 0, TASKS, (n) => 20 + n % 40)
  const killed = new Set<string>()
  await endOneByOne(stage, async () => stage.start(), async (process) => {
    killed.add(String(process.pid))
    await process.kill()
  })
  const effects = [...(await recorded(stage.redis, 'effects')).values()]
  const extra = effects.flatMap((pids) => pids.slice(0, -1))
  t.equal(effects.length, TASKS, 'no task is lost')
  t.equal(killed.size, KILLS)
  t.same(extra.filter((pid) => !killed.has(pid)), [], 'who repeats work repeats that of a process that was killed')
  t.ok(extra.length <= KILLS * 8, `${extra.length} duplicates of at most ${KILLS * 8} tasks that ran`)
  const begun = [...(await recorded(stage.redis, 'begun')).values()]
  t.ok(begun.some((pids) => pids.length > 1), 'processes were killed while they worked')
})

t.test('SIGTERM of a worker process, again and again, tasks shorter than its deadline: each effect exactly once', { skip }, async (t) => {
  const stage = await scene(t)
  await enqueueEffects(stage, 0, TASKS, (n) => 20 + n % 40)
  const codes = new Set<number | null>()
  await endOneByOne(stage, async () => stage.start(), async (process) => { codes.add(await process.terminate()) })
  const effects = [...(await recorded(stage.redis, 'effects')).values()]
  t.equal(effects.length, TASKS)
  t.same(effects.filter((pids) => pids.length !== 1), [])
  t.same([...codes], [0])
})

interface Load {
  accepted: number[]
  codes: Map<string, number>
  slowest: number
  stop (): Promise<void>
}

/** Enqueues tasks until it is told to stop, 4 at a time, and notes how each call ended. */
function load ({ enqueue }: Scene): Load {
  const result: Load = { accepted: [], codes: new Map(), slowest: 0, stop: async () => {} }
  let n = 0
  const stopped = new AbortController()
  async function client (): Promise<void> {
    while (!stopped.signal.aborted) {
      const mine = n++
      const before = performance.now()
      try {
        await enqueue('effect', { n: mine, ms: 1 })
        result.accepted.push(mine)
      } catch (error) {
        const code = (error as { code?: string }).code ?? String(error)
        result.codes.set(code, (result.codes.get(code) ?? 0) + 1)
      }
      result.slowest = Math.max(result.slowest, performance.now() - before)
      await sleep(2)
    }
  }
  const clients = Array.from({ length: 4 }, client)
  result.stop = async () => {
    stopped.abort()
    await Promise.all(clients)
  }
  return result
}

/** Does something to Redis under load, and then looks whether everything that was accepted is done by the processes that were there. */
async function survives (t: Test, serverOptions: RedisServerOptions, fault: (stage: Scene) => Promise<void>): Promise<Load> {
  const stage = await scene(t, serverOptions)
  const workers = await Promise.all([stage.start(), stage.start()])
  const current = load(stage)
  await eventually(async () => current.accepted.length > 200, 'there is load')
  await fault(stage)
  const before = current.accepted.length
  await eventually(async () => current.accepted.length > before + 200, 'enqueue() works again')
  await current.stop()
  await eventually(async () => {
    const done = await recorded(stage.redis, 'effects')
    return current.accepted.every((n) => done.has(String(n)))
  }, 'all that was accepted is done')
  const done = [...(await recorded(stage.redis, 'effects')).values()].flat()
  for (const { pid } of workers) t.ok(done.includes(String(pid)), 'each process has worked')
  t.ok(current.slowest < STORE_TIMEOUT + SLACK, `the slowest call took ${Math.round(current.slowest)} ms`)
  return current
}

t.test('Redis is stopped for 5 s under load: enqueue() fails fast, nothing that was accepted is lost, and all recover by themselves', { skip }, async (t) => {
  const { codes } = await survives(t, { persists: true }, async ({ server }) => {
    await server.kill()
    await sleep(5_000)
    await server.start()
  })
  t.same([...codes.keys()], ['FC_ERR_TASK_STORE'])
  t.ok((codes.get('FC_ERR_TASK_STORE') ?? 0) > 100, 'callers were answered while it was away')
})

t.test('scripts are flushed and all clients killed under load: all recover', { skip }, async (t) => {
  const { codes } = await survives(t, {}, async ({ redis }) => {
    await redis.script('FLUSH')
    await redis.call('CLIENT', 'KILL', 'SKIPME', 'no').catch(() => {})
    await redis.script('FLUSH')
  })
  t.same([...codes.keys()].filter((code) => code !== 'FC_ERR_TASK_STORE'), [])
})

t.test('Redis is frozen for 3 s under load: no call hangs past its bound', { skip }, async (t) => {
  const { codes } = await survives(t, {}, async ({ server }) => {
    server.signal('SIGSTOP')
    await sleep(3_000)
    server.signal('SIGCONT')
  })
  t.same([...codes.keys()], ['FC_ERR_TASK_STORE'])
})

t.test('two processes enqueue 1,000 tasks of one id: one runs', { skip }, async (t) => {
  const stage = await scene(t)
  const processes = await Promise.all([stage.start({ storeTimeout: 5_000 }), stage.start({ storeTimeout: 5_000 })])
  const order = { do: 'enqueue', task: 'gate', options: { id: 'one' }, times: 500 } as const
  const answers = await Promise.all(processes.map(async (process) => process.ask<{ codes: Record<string, number> }>(order)))
  await stage.redis.rpush('go', 'x')
  await eventually(async () => { const gate = (await stage.web.tasks.queues()).find(({ name }) => name === 'gate'); return gate?.running === 0 && gate.waiting === 0 }, 'it has ended')
  t.equal((await recorded(stage.redis, 'effects')).get('gate')?.length, 1)
  const total = (code: string): number => answers.reduce((sum, { codes }) => sum + (codes[code] ?? 0), 0)
  t.equal(total('accepted'), 1)
  t.equal(total('FC_ERR_TASK_DUPLICATE'), 999)
})

t.test('a task whose process was killed runs elsewhere within twice the lock duration', { skip }, async (t) => {
  const stage = await scene(t)
  const first = await stage.start(MEASURED)
  await stage.enqueue('wait')
  await eventually(async () => await stage.redis.llen('waiting') === 1, 'it runs')
  const second = await stage.start(MEASURED)
  await first.kill()
  const before = performance.now()
  await eventually(async () => await stage.redis.llen('waiting') === 2, 'it runs elsewhere')
  const ms = performance.now() - before
  t.same(await stage.redis.lrange('waiting', 0, -1), [`1 ${first.pid}`, `1 ${second.pid}`], 'the attempt does not count')
  t.ok(ms <= 2 * MEASURED.lockDuration, `${Math.round(ms)} ms`)
})

t.test('a task whose process is frozen runs elsewhere within twice the lock duration; when the process goes on, the task does not end twice', { skip }, async (t) => {
  const stage = await scene(t)
  const first = await stage.start(MEASURED)
  const second = await stage.start(MEASURED)
  // BullMQ's Workers wait for longer if there is a task that is due later.
  await stage.enqueue('effect', { n: 'later', ms: 0 }, { delay: 3_600_000 })
  const queue = new QueueEvents('{effect}', { prefix: 'fastify-concurrency:tasks', connection: stage.server.client({ maxRetriesPerRequest: null }) as never })
  t.teardown(async () => queue.close())
  const completed: string[] = []
  queue.on('completed', ({ jobId }) => { completed.push(jobId) })
  await queue.waitUntilReady()
  // Longer than the process is frozen: both runs reach their end.
  const tasks = await Promise.all([1, 2, 3, 4].map(async (n) => stage.enqueue('effect', { n, ms: 3 * MEASURED.lockDuration })))
  await eventually(async () => (await recorded(stage.redis, 'begun')).size === 4, 'all run')
  const [victim, other] = [...(await recorded(stage.redis, 'begun')).values()].flat().includes(String(first.pid)) ? [first, second] : [second, first]
  const held = [...await recorded(stage.redis, 'begun')].filter(([, pids]) => pids[0] === String(victim.pid)).map(([n]) => n)
  process.kill(victim.pid, 'SIGSTOP')
  const before = performance.now()
  await eventually(async () => { const begun = await recorded(stage.redis, 'begun'); return held.every((n) => begun.get(n)?.at(-1) === String(other.pid)) }, 'they run elsewhere')
  const ms = performance.now() - before
  process.kill(victim.pid, 'SIGCONT')
  t.ok(ms <= 2 * MEASURED.lockDuration, `${held.length} tasks after ${Math.round(ms)} ms`)
  await Promise.all(tasks.map(async ({ done }) => done))
  t.equal(await victim.terminate(), 0, 'the process that was frozen is well')
  t.equal((await recorded(stage.redis, 'effects')).size, 4, 'each has had its effect')
  const [queued] = await stage.web.tasks.queues()
  t.match(queued, { waiting: 0, running: 0, delayed: 1, failed: 0 })
  t.equal(completed.length, 4, 'each has ended once')
})

t.test('cancel() reaches a task that runs in another process', { skip }, async (t) => {
  const stage = await scene(t)
  const [worker, other] = await Promise.all([stage.start(), stage.start({ consume: false })])
  const { id, done } = await stage.enqueue('wait', undefined, { id: 'x' })
  const outcome = done.then(() => 'completed', (error: { code: string }) => error.code)
  await eventually(async () => await stage.redis.llen('waiting') === 1, 'it runs')
  t.same(await other.ask({ do: 'cancel', id }), { cancelled: true })
  t.equal(await outcome, 'FC_ERR_TASK_ABORTED')
  t.match(await stage.redis.lrange('aborted', 0, -1), [/cancel\(\) was called/])
  t.same(await other.ask({ do: 'cancel', id }), { cancelled: false })
  t.match((await stage.web.tasks.queues()).find(({ name }) => name === 'wait'), { running: 0, failed: 0 }, 'a cancelled task has not failed')
  const before = performance.now()
  t.equal(await worker.terminate(), 0)
  t.ok(performance.now() - before < 5_000, 'nothing keeps an idle process alive after its shutdown')
})

t.test('a deadline that passes hands the task back at once, and not when its lock expires', { skip }, async (t) => {
  const stage = await scene(t)
  // No lock expires while the test runs.
  const first = await stage.start({ lockDuration: 60_000, timeout: 200 })
  await stage.enqueue('wait')
  await eventually(async () => await stage.redis.llen('waiting') === 1, 'it runs')
  const second = await stage.start({ lockDuration: 60_000 })
  const before = performance.now()
  await first.terminate()
  await eventually(async () => await stage.redis.llen('waiting') === 2, 'it runs elsewhere')
  t.ok(performance.now() - before < 5_000)
  t.equal((await stage.redis.lrange('waiting', 0, -1))[1], `1 ${second.pid}`)
})

t.test('SIGTERM while Redis is frozen: the process ends within its deadline, and the task runs elsewhere', { skip }, async (t) => {
  const stage = await scene(t)
  const first = await stage.start({ timeout: 500 })
  await stage.enqueue('wait')
  await eventually(async () => await stage.redis.llen('waiting') === 1, 'it runs')
  const second = await stage.start()
  stage.server.signal('SIGSTOP')
  const before = performance.now()
  const ended = first.terminate()
  const isOver = await Promise.race([ended.then(() => true), sleep(6_000, false, { ref: false })])
  const ms = performance.now() - before
  stage.server.signal('SIGCONT')
  t.ok(isOver, `the process has ended after ${Math.round(ms)} ms`)
  await first.kill()
  await eventually(async () => (await stage.redis.lrange('waiting', 0, -1)).includes(`1 ${second.pid}`), 'it runs elsewhere')
})

t.test('a task that ends its process is given up, and kept with its error; tasks beside it are not', { skip }, async (t) => {
  const stage = await scene(t)
  const beside: Array<Promise<unknown>> = []
  for (const n of [1, 2, 3, 4]) beside.push((await stage.enqueue('effect', { n, ms: 300 })).done)
  const { done } = await stage.enqueue('poison')
  const outcome = done.then(() => 'completed', (error: { code: string }) => error.code)
  const over = new AbortController()
  const supervisor = (async () => {
    while (!over.signal.aborted) {
      const process = await stage.start()
      await Promise.race([process.exited, Promise.all([outcome, ...beside])])
    }
  })()
  t.equal(await outcome, 'FC_ERR_TASK_CRASHED')
  await t.resolves(Promise.all(beside), 'they have ended well, though they lost their process with it')
  over.abort()
  await supervisor
  t.equal((await recorded(stage.redis, 'effects')).get('poison')?.length, 5)
  t.match((await stage.web.tasks.queues()).find(({ name }) => name === 'poison'), { waiting: 0, running: 0, failed: 1 })
})
