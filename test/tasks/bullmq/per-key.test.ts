// concurrency.perKey: how many tasks of a key run at once over all processes, who goes first, and what holds when a process ends between two commands.
import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Queue } from 'bullmq'
import tasks, { defineTasks, type Operating, type RedisToDuplicate, type TaskContext, type TasksOptions } from '../../../plugins/tasks/index.ts'
import { rejection, until } from '../../helper.ts'
import { noRedis, startRedis, type RedisServer } from '../../limiter/redis.ts'
import { build, callsOf, enqueueOf } from './helper.ts'
import { eventually, startProcess } from './processes.ts'
import { startCluster } from './servers.ts'

const skip = await noRedis()
t.setTimeout(300_000)

interface Work { key: string, n: number }

/** Tasks that run until they are let go, and what has run so far. */
class Works {
  readonly began: string[] = []
  readonly running = new Map<string, { resolve (): void, reject (error: Error): void }>()
  most = 0

  readonly handler = async ({ key, n }: Work, { signal }: TaskContext): Promise<void> => {
    const name = `${key}${n}`
    this.began.push(name)
    const ended = new Promise<void>((resolve, reject) => { this.running.set(name, { resolve, reject }) })
    this.most = Math.max(this.most, [...this.running.keys()].filter((running) => running.startsWith(key)).length)
    signal.onabort = () => this.running.get(name)?.reject(signal.reason as Error)
    await ended.finally(() => this.running.delete(name))
  }

  async end (name: string): Promise<void> {
    await until(() => this.running.has(name), `${name} runs`)
    this.running.get(name)?.resolve()
  }

  async beganAre (names: string[]): Promise<void> {
    await until(() => this.began.length >= names.length, `${names.join()} have begun`)
  }
}

interface Started { app: FastifyInstance, prefix: string, add: (name: string, options?: object) => Promise<{ id: string, done: Promise<unknown>, cancel (): void }> }

async function start (t: Test, server: { client (): RedisToDuplicate }, works: Works, perKey: number, options: TasksOptions = {}, definition: object = {}): Promise<Started> {
  const prefix = options.prefix ?? randomUUID()
  const app = await build(t, server, { prefix, ...options, tasks: defineTasks({ work: { handler: works.handler, concurrency: { perKey }, ...definition } }) })
  return { app, prefix, add: async (name, options) => enqueueOf(app)('work', { key: name[0], n: Number(name.slice(1)) }, { key: name[0], ...options }) }
}

function queueOf (t: Test, server: RedisServer, prefix: string): Queue {
  const queue = new Queue('{work}', { prefix: `${prefix}:tasks`, connection: server.client({ maxRetriesPerRequest: null }) as never })
  t.teardown(async () => queue.close())
  return queue
}

/** Stores a task that has a permit, as a process that ends before it promotes the task. */
async function storeUnpromoted (t: Test, server: RedisServer, prefix: string, name: string): Promise<void> {
  const key = name[0] as string
  const jobId = randomUUID()
  await queueOf(t, server, prefix).add('work', { payload: { key, n: Number(name.slice(1)) }, key, parked: true }, { delay: 600_000, jobId })
  await server.client().sadd(`${prefix}:tasks:{work}:fc:permits:${key}`, jobId)
}

t.test('no more than perKey tasks of a key run at once, and other keys do not wait for them', { skip }, async (t) => {
  const server = await startRedis(t)
  const works = new Works()
  const { app, add } = await start(t, server, works, 2, { concurrency: 4 })
  const handles = []
  for (let n = 0; n < 9; n++) handles.push(await add(`a${n}`))
  await works.beganAre(['a0', 'a1'])
  handles.push(await add('b0'))
  await works.beganAre(['a0', 'a1', 'b0'])
  t.same(works.began.toSorted(), ['a0', 'a1', 'b0'])
  t.match(await app.tasks.queues(), [{ waiting: 7, running: 3, delayed: 0 }], 'what waits for its key is waiting')
  t.ok((await app.tasks.queues())[0]!.oldestMs < 60_000)
  await works.end('b0')
  for (let n = 0; n < 9; n++) await works.end(`a${n}`)
  await Promise.all(handles.map(({ done }) => done))
  t.equal(works.most, 2)
  t.match(await app.tasks.queues(), [{ waiting: 0, running: 0, delayed: 0, oldestMs: 0 }])
})

t.test('the bound holds over processes, and a slot that is free goes to another key', { skip }, async (t) => {
  const server = await startRedis(t)
  const works = new Works()
  const { prefix, add } = await start(t, server, works, 1, { concurrency: 2 })
  await start(t, server, works, 1, { concurrency: 2, prefix })
  const handles = []
  for (const name of ['a0', 'a1', 'a2', 'b0', 'c0', 'd0', 'd1']) handles.push(await add(name))
  await works.beganAre(['a0', 'b0', 'c0', 'd0'])
  t.same(works.began.toSorted(), ['a0', 'b0', 'c0', 'd0'])
  for (const name of ['a0', 'b0', 'c0', 'd0', 'a1', 'd1', 'a2']) await works.end(name)
  await Promise.all(handles.map(({ done }) => done))
  t.equal(works.most, 1)
  t.same(works.began.filter((name) => name.startsWith('a')), ['a0', 'a1', 'a2'], 'in the order of their acceptance')
})

t.test('a task that waits for its retry leaves its permit to others of its key, and runs again before those that wait', { skip }, async (t) => {
  const server = await startRedis(t)
  const works = new Works()
  const { add, prefix } = await start(t, server, works, 1, {}, { retries: 1, backoff: { base: 1, max: 1 } })
  const [first, ...others] = [await add('a0'), await add('a1'), await add('a2')]
  await works.beganAre(['a0'])
  works.running.get('a0')?.reject(new Error('once'))
  await works.beganAre(['a0', 'a1'])
  // The retry is due, and put in line again.
  const redis = server.client()
  await eventually(async () => await redis.zcard(`${prefix}:tasks:{work}:fc:line:a`) === 2, 'the retry is in line')
  for (const name of ['a1', 'a0', 'a2']) await works.end(name)
  await Promise.all([first, ...others].map(({ done }) => done))
  t.same(works.began, ['a0', 'a1', 'a0', 'a2'])
  t.equal(works.most, 1)
})

t.test('a task with a delay, one of a schedule and one that is retried by hand get a permit too', { skip }, async (t) => {
  const server = await startRedis(t)
  const works = new Works()
  const { app, add } = await start(t, server, works, 1)
  const failed = await add('a0')
  await works.beganAre(['a0'])
  works.running.get('a0')?.reject(new Error('for good'))
  await rejection(failed.done)
  const held = await add('a1')
  await works.beganAre(['a0', 'a1'])
  const delayed = await add('a2', { delay: 1 })
  const calls = app.tasks as unknown as { retryAll (name: string): Promise<number> }
  t.equal(await calls.retryAll('work'), 1)
  await callsOf(app).schedule('work', { every: 3_600_000 }, { key: 's', n: 0 })
  await works.beganAre(['a0', 'a1', 's0'])
  await eventually(async () => (await app.tasks.queues())[0]!.waiting === 2, 'both wait')
  t.same(works.began.length, 3)
  for (const name of ['a1', 's0']) await works.end(name)
  for (let n = 0; n < 2; n++) {
    await until(() => works.running.size > 0, 'one of the two runs')
    await works.end([...works.running.keys()][0] as string)
  }
  await Promise.all([held.done, delayed.done])
  t.same(works.began.toSorted(), ['a0', 'a0', 'a1', 'a2', 's0'])
  t.equal(works.most, 1)
})

t.test('what waits for its key is waiting wherever an operator looks, and counts and lists agree; what is delayed is delayed', { skip }, async (t) => {
  const server = await startRedis(t)
  const works = new Works()
  const { app, add, prefix } = await start(t, server, works, 1, { concurrency: 1 }, { retries: 1, backoff: { base: 3_600_000, max: 3_600_000 } })
  const operate = app.tasks as unknown as Operating
  const seen = async (): Promise<Record<string, string[]>> => {
    const { running, waiting, delayed } = await operate.inspect('work')
    const [queue] = await app.tasks.queues()
    t.match(queue, { running: running.length, waiting: waiting.length, delayed: delayed.length }, 'counts and lists agree')
    const ids = (tasks: Array<{ id: string }>): string[] => tasks.map(({ id }) => id.slice('work:'.length))
    return { running: ids(running), next: ids(waiting.filter(({ waitsForKey }) => !waitsForKey)), ofKey: ids(waiting.filter(({ waitsForKey }) => waitsForKey)), delayed: ids(delayed) }
  }
  await add('z0', { id: 'z0' })
  await works.beganAre(['z0'])
  works.running.get('z0')?.reject(new Error('once'))
  await add('a0', { id: 'a0' })
  await works.beganAre(['z0', 'a0'])
  for (const name of ['a1', 'a2', 'a3', 'b0', 'b1']) await add(name, { id: name })
  await add('a4', { id: 'a4', delay: 7_200_000 })
  const all = { running: ['a0'], next: ['b0'], ofKey: ['a1', 'a2', 'a3', 'b1'], delayed: ['z0', 'a4'] }
  t.strictSame(await seen(), all)
  t.match(await rejection(operate.retry('work', 'work:a2')), { code: 'FC_ERR_TASK_NOT_FAILED', state: 'waiting' })
  t.match(await rejection(operate.discard('work', 'work:a4')), { code: 'FC_ERR_TASK_NOT_FAILED', state: 'delayed' })
  t.strictSame((await operate.inspect('work', { limit: 3 })).waiting.map(({ id }) => id), ['work:b0', 'work:a1', 'work:a2'])

  t.equal(await app.tasks.cancel('work:a2'), true)
  t.strictSame(await seen(), { ...all, ofKey: ['a1', 'a3', 'b1'] })
  t.equal(await server.client().zcard(`${prefix}:tasks:{work}:fc:parked`), 3, 'nothing is left of it')

  // As BullMQ does when the delay of a parked task is over.
  await operate.pause('work')
  const queue = queueOf(t, server, prefix)
  for (const name of ['a1', 'a3', 'b1']) await (await queue.getJob(await queue.getDeduplicationJobId(name) as string))?.promote()
  t.strictSame(await seen(), { ...all, next: ['b0', 'a1', 'a3', 'b1'], ofKey: [] })
  await operate.resume('work')
  for (const name of ['a0', 'b0', 'a1', 'a3', 'b1']) await works.end(name)
  await eventually(async () => (await app.tasks.queues())[0]!.running === 0, 'all have ended')
  t.strictSame(await seen(), { running: [], next: [], ofKey: [], delayed: ['z0', 'a4'] })
})

t.test('a delayed task is found behind any number of tasks that wait for their key', { skip }, async (t) => {
  const server = await startRedis(t)
  const works = new Works()
  const { app, add } = await start(t, server, works, 1)
  await add('a0')
  await works.beganAre(['a0'])
  await Promise.all(Array.from({ length: 2_100 }, async (_, n) => await add(`a${n + 1}`)))
  await add('b0', { id: 'b0', delay: 7_200_000 })
  const { waiting, delayed } = await (app.tasks as unknown as Operating).inspect('work')
  t.strictSame(delayed.map(({ id }) => id), ['work:b0'])
  t.equal(waiting.length, 50)
  t.match(await app.tasks.queues(), [{ waiting: 2_100, delayed: 1 }])
  await works.end('a0')
  await works.end('a1')
})

t.test('to read past 200,000 tasks that wait for their key takes longer than Redis may be silent, and no call is told that Redis is away', { skip }, async (t) => {
  const server = await startRedis(t)
  const { app, add, prefix } = await start(t, server, new Works(), 1, { consume: false, maxStored: 1_000_000, storeTimeout: 250 })
  const redis = server.client()
  for (let page = 0; page < 20; page++) {
    const ids = Array.from({ length: 10_000 }, (_, n) => `${page} ${n}`)
    await redis.zadd(`${prefix}:tasks:{work}:delayed`, ...ids.flatMap((id) => [Date.now() * 0x1000, id]))
    await redis.zadd(`${prefix}:tasks:{work}:fc:parked`, ...ids.flatMap((id) => [Date.now() * 1_000, id]))
  }
  await add('a0', { delay: 60_000, id: 'delayed' })
  let isRead = false
  const inspected = (app.tasks as never as Operating).inspect('work').finally(() => { isRead = true })
  await sleep(300)
  if (!isRead) await add('a1')
  t.match(await inspected, { delayed: [{ id: 'work:delayed' }] })
})

t.test('a task that is cancelled in line, or with a permit, leaves its place to others', { skip }, async (t) => {
  const server = await startRedis(t)
  const works = new Works()
  const { app, add } = await start(t, server, works, 1, { concurrency: 1 })
  const calls = app.tasks as unknown as { cancel (id: string): Promise<boolean> }
  const holder = await add('h0')
  await works.beganAre(['h0'])
  const [first, second, third] = [await add('a0'), await add('a1'), await add('a2')]
  t.equal(await calls.cancel(first.id), true)
  t.equal(await calls.cancel(second.id), true)
  await works.end('h0')
  await works.end('a2')
  await Promise.all([holder.done, third.done])
  t.same(works.began, ['h0', 'a2'])
  t.match(await app.tasks.queues(), [{ waiting: 0, running: 0, delayed: 0 }])
})

t.test('a task that is joined is accepted once, and a joined one whose caller has ended takes its place in line', { skip }, async (t) => {
  const server = await startRedis(t)
  const works = new Works()
  const { add, prefix } = await start(t, server, works, 1)
  await add('a0')
  const once = await add('a1', { id: 'x' })
  t.equal((await add('a1', { id: 'x', duplicate: 'join' })).id, once.id)
  // As if the process had ended after it has stored the task.
  const redis = server.client()
  await redis.del(`${prefix}:tasks:{work}:fc:line:a`)
  await works.beganAre(['a0'])
  const again = await add('a1', { id: 'x', duplicate: 'join' })
  for (const name of ['a0', 'a1']) await works.end(name)
  await again.done
  t.same(works.began, ['a0', 'a1'])
})

t.test('what a process that ended between two commands has left is found', { skip }, async (t) => {
  const server = await startRedis(t)
  const redis = server.client()

  t.test('a permit of a task that was not promoted, and one of a task that is gone', async (t) => {
    const works = new Works()
    const { add, prefix } = await start(t, server, works, 2, { lockDuration: 1_000 })
    const key = (of: string): string => `${prefix}:tasks:{work}:fc:${of}`
    const gone = await add('a0')
    await works.end('a0')
    await gone.done
    // The next task is stored by a process that ends before it promotes the task.
    await redis.sadd(key('permits:a'), 'gone')
    await storeUnpromoted(t, server, prefix, 'a1')
    const third = await add('a2')
    await works.end('a1')
    await works.end('a2')
    await third.done
    t.same(works.began.toSorted(), ['a0', 'a1', 'a2'])
    await eventually(async () => await redis.exists(key('keys'), key('permits:a'), key('line:a')) === 0, 'nothing is left')
  })

  t.test('a permit of a task that was not promoted, in a key where nobody waits', async (t) => {
    const works = new Works()
    const { add, prefix } = await start(t, server, works, 2, { lockDuration: 1_000 })
    const first = await add('a0')
    await works.beganAre(['a0'])
    await storeUnpromoted(t, server, prefix, 'a1')
    await works.end('a0')
    await first.done
    await works.end('a1')
    t.same(works.began, ['a0', 'a1'])
  })

  t.test('a permit of a task that was not promoted, in a key that is never idle', async (t) => {
    const works = new Works()
    const { add, prefix } = await start(t, server, works, 2, { lockDuration: 1_000 })
    await storeUnpromoted(t, server, prefix, 'a0')
    let last = await add('a1')
    let n = 1
    while (!works.began.includes('a0')) {
      const next = await add(`a${n + 1}`)
      await works.end(`a${n++}`)
      await last.done
      last = next
    }
    await works.end('a0')
    await works.end(`a${n}`)
    await last.done
  })

  t.test('a task that has no place in line runs when its delay is over', async (t) => {
    const works = new Works()
    const { add, prefix } = await start(t, server, works, 1)
    const lost = { name: 'work', data: { payload: { key: 'a', n: 7 }, key: 'a', parked: true }, opts: { delay: 1, jobId: randomUUID() } }
    await queueOf(t, server, prefix).add(lost.name, lost.data, lost.opts)
    await works.end('a7')
    const next = await add('a8')
    await works.end('a8')
    await next.done
  })

  t.test('a task of an older version, which has no key, has that of its name', async (t) => {
    const works = new Works()
    const { prefix } = await start(t, server, works, 1)
    const queue = queueOf(t, server, prefix)
    for (let n = 0; n < 3; n++) await queue.add('work', { payload: { key: 'o', n } }, { jobId: randomUUID() })
    for (let n = 0; n < 3; n++) {
      await until(() => works.running.size > 0, 'one runs')
      await works.end([...works.running.keys()][0] as string)
    }
    t.equal(works.most, 1)
  })
})

t.test('a delivery whose lock has gone to another process does not run, and takes no permit back', { skip }, async (t) => {
  const server = await startRedis(t)
  const redis = server.client()
  const works = new Works()
  const { app, add, prefix } = await start(t, server, works, 1)
  const task = await add('a0')
  await works.beganAre(['a0'])
  const [job] = await queueOf(t, server, prefix).getActive()
  const lock = `${prefix}:tasks:{work}:${job?.id}:lock`
  const token = await redis.get(lock)
  await redis.set(lock, 'another', 'PX', 60_000)
  const other = await add('a1')
  await works.end('a0')
  await until(() => works.running.size === 0, 'it has ended')
  // What follows the run has ended, too.
  await app.tasks.idle()
  t.equal(await redis.sismember(`${prefix}:tasks:{work}:fc:permits:a`, job?.id as string), 1, 'the other process runs it')
  t.same(works.began, ['a0'])
  await redis.set(lock, token as string, 'PX', 1)
  await redis.srem(`${prefix}:tasks:{work}:fc:permits:a`, job?.id as string)
  void task.done.catch(() => {})
  void other.done.catch(() => {})
})

const servers: Array<[where: string, skip: string | false, start: (t: Test) => Promise<{ client (): RedisToDuplicate }>]> = [
  ['on Valkey', await noRedis('valkey-server'), async (t) => await startRedis(t, { binary: 'valkey-server' })],
  ['in a cluster', skip, startCluster]
]
for (const [where, skip, startServer] of servers) {
  t.test(`${where}: the bound holds, keys take turns, and what waits for its key is waiting`, { skip }, async (t) => {
    const server = await startServer(t)
    const works = new Works()
    const { app, add } = await start(t, server, works, 2, { concurrency: 3 })
    const handles = []
    for (const name of ['a0', 'a1', 'a2', 'a3', 'b0']) handles.push(await add(name))
    await works.beganAre(['a0', 'a1', 'b0'])
    t.same(works.began.toSorted(), ['a0', 'a1', 'b0'])
    t.match(await app.tasks.queues(), [{ waiting: 2, running: 3, delayed: 0 }])
    t.match(await (app.tasks as unknown as Operating).inspect('work'), { waiting: [{ waitsForKey: true }, { waitsForKey: true }], delayed: [] })
    for (const name of ['a0', 'a1', 'b0', 'a2', 'a3']) await works.end(name)
    await Promise.all(handles.map(({ done }) => done))
    t.equal(works.most, 2)
  })
}

t.test('processes that are killed, frozen and shut down at random: the bound holds, each task runs, and a key with many tasks holds up no other', { skip }, async (t) => {
  const server = await startRedis(t, { persists: true })
  const redis = server.client()
  const options = { path: server.path, lockDuration: 1_000, concurrency: 8, timeout: 500 }
  const processes = await Promise.all(Array.from({ length: 4 }, async () => startProcess(t, options)))
  const web = await build(t, server, { prefix: 'fastify-concurrency', consume: false, tasks: defineTasks({ keyed: { handler () {}, concurrency: { perKey: 2 } } }) })
  const enqueue = async (key: string, n: number): Promise<unknown> => enqueueOf(web)('keyed', { key, n, ms: 20 }, { key })
  const heavy = 600
  for (let n = 0; n < heavy; n += 100) await Promise.all(Array.from({ length: 100 }, async (_, index) => enqueue('heavy', n + index)))
  const ends = ['SIGKILL', 'SIGSTOP', 'SIGTERM', 'SIGKILL', 'SIGSTOP', 'SIGKILL', 'SIGTERM', 'SIGKILL'] as const
  for (const [round, signal] of ends.entries()) {
    const index = Math.floor(Math.random() * processes.length)
    process.kill(processes[index]!.pid, signal)
    for (let tenant = 0; tenant < 19; tenant++) await enqueue(`light${tenant}`, round)
    if (signal === 'SIGSTOP') {
      // Longer than its locks live.
      await sleep(2_500)
      process.kill(processes[index]!.pid, 'SIGCONT')
    } else {
      await processes[index]!.exited
      processes[index] = await startProcess(t, options)
    }
    if (round === 3) {
      await server.kill()
      await server.start()
      await eventually(async () => await redis.ping().catch(() => '') === 'PONG', 'Redis is back')
      await eventually(async () => web.tasks.queues().then(() => true, () => false), 'the client is back')
    }
  }
  const ended = (entries: string[]): Set<string> => new Set(entries.filter((entry) => entry.startsWith('end')))
  await eventually(async () => ended(await redis.lrange('keyed', 0, -1)).size === heavy + 19 * ends.length, 'all have run', 90_000)

  const running = new Map<string, Set<string>>()
  const most = new Map<string, number>()
  for (const entry of await redis.lrange('keyed', 0, -1)) {
    const [what, key = '', n = ''] = entry.split(' ')
    const ofKey = running.get(key) ?? new Set()
    running.set(key, ofKey)
    if (what === 'begin') ofKey.add(n)
    else ofKey.delete(n)
    most.set(key, Math.max(most.get(key) ?? 0, ofKey.size))
  }
  t.equal(most.get('heavy'), 2)
  t.equal(Math.max(...most.values()), 2)
})

t.test('an invalid bound, and a bound in memory, are refused at boot', async (t) => {
  const definition = (concurrency: unknown): TasksOptions => ({ tasks: { work: { handler () {}, concurrency } } as never })
  const boot = async (options: TasksOptions): Promise<unknown> => {
    const app = Fastify()
    await app.register(tasks, options)
    return app
  }
  for (const concurrency of [2, null, {}, { perKey: 0 }, { perKey: 1.5 }, { perKey: Infinity }, { perKey: 1_001 }, { perKey: 2, max: 3 }]) {
    t.match(await rejection(boot(definition(concurrency))), { code: 'FC_ERR_OPTION_INVALID', message: /tasks\.work\.concurrency/ }, JSON.stringify(concurrency))
  }
  t.match(await rejection(boot(definition({ perKey: 2 }))), { code: 'FC_ERR_OPTION_INVALID', message: /without redis/ })
})
