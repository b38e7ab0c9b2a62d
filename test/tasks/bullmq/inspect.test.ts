// What an operator reads of stored tasks beside those that have failed: inspect() and processes().
import { hostname } from 'node:os'
import t from 'tap'
import type { FastifyInstance } from 'fastify'
import { defineTasks, type Operating } from '../../../plugins/tasks/index.ts'
import { deferred, rejection } from '../../helper.ts'
import { noRedis, startRedis } from '../../limiter/redis.ts'
import { build, callsOf, enqueueOf } from './helper.ts'
import { eventually, startProcess } from './processes.ts'

const skip = await noRedis()
const operate = (app: FastifyInstance): Operating => app.tasks as never

t.test('on Redis', { skip }, async (t) => {
  const server = await startRedis(t)

  t.test('inspect(): what runs and where, what is delayed or tried again and when, and schedules with their next run, to a process that runs none of it', async (t) => {
    const end = deferred()
    const tasks = defineTasks({
      work: { handler: async () => await end.promise },
      broken: { handler: () => { throw new Error('no route') }, retries: 3, backoff: { base: 600_000, max: 600_000 } }
    })
    const prefix = 'inspect'
    const worker = await build(t, server, { tasks, prefix, concurrency: 2 })
    const app = await build(t, server, { tasks, prefix, consume: false })
    t.teardown(() => end.resolve())
    const before = Date.now()
    await enqueueOf(app)('work', undefined, { id: 'chosen' })
    await enqueueOf(app)('work')
    await enqueueOf(app)('broken', { secret: 1 }, { id: 'b' })
    await enqueueOf(app)('broken', undefined, { delay: 60_000, id: 'later' })
    await callsOf(app)['schedule']('broken', { cron: '0 3 * * *', timezone: 'Europe/Oslo' }, undefined, { id: 'nightly' })
    await callsOf(app)['schedule']('broken', { every: 3_000_000 }, undefined, { id: 'often' })
    await eventually(async () => worker.tasks.stats().running === 2, 'both run')
    await eventually(async () => (await operate(app).inspect('broken')).delayed.some(({ attempts }) => attempts > 0), 'it waits for its next attempt')

    await enqueueOf(app)('work', undefined, { id: 'third' })
    await enqueueOf(app)('work', undefined, { id: 'fourth' })
    const { running, waiting, delayed, schedules } = await operate(app).inspect('work')
    t.match(waiting, [{ id: 'work:third', waitsForKey: false }, { id: 'work:fourth', waitsForKey: false }], 'the next one first')
    t.ok(waiting.every(({ enqueuedAt }) => enqueuedAt >= before && enqueuedAt <= Date.now()))
    t.equal((await operate(app).inspect('work', { limit: 1 })).waiting.length, 1)
    t.equal(running.length, 2)
    t.match(running[0], { id: 'work:chosen', process: `${hostname()}:${process.pid}`, attempt: 1 })
    t.ok(running.every(({ startedAt }) => startedAt >= before && startedAt <= Date.now()))
    t.strictSame([delayed, schedules], [[], []])

    const broken = await operate(app).inspect('broken')
    const byId = new Map(broken.delayed.map((task) => [task.id, task]))
    t.match(byId.get('broken:later'), { attempts: 0, message: undefined })
    t.match(byId.get('broken:b'), { attempts: 1, message: 'no route' })
    const [later, retried] = [byId.get('broken:later')!.runsAt, byId.get('broken:b')!.runsAt]
    t.ok(later >= before + 60_000 && later <= Date.now() + 60_000, 'in a minute')
    t.ok(retried > before && retried <= Date.now() + 600_000)
    t.strictSame(broken.delayed.map(({ runsAt }) => runsAt), broken.delayed.map(({ runsAt }) => runsAt).sort((a, b) => a - b), 'the next one first')
    t.match(broken.schedules.find(({ id }) => id === 'nightly'), { schedule: { cron: '0 3 * * *', timezone: 'Europe/Oslo' } })
    t.match(broken.schedules.find(({ id }) => id === 'often'), { schedule: { every: 3_000_000 } })
    t.ok(broken.schedules.every(({ nextAt }) => nextAt > before && nextAt < before + 90_000_000))
    t.notMatch(JSON.stringify(broken), 'secret', 'no payload is read')

    const one = await operate(app).inspect('broken', { limit: 1 })
    t.strictSame([one.delayed.length, one.schedules.length], [1, 1])
    for (const limit of [0, 1_001, 1.5]) t.match(await rejection(operate(app).inspect('broken', { limit })), { code: 'FC_ERR_OPTION_INVALID' })
    t.match(await rejection(operate(app).inspect('nobody' as never)), { code: 'FC_ERR_TASK_UNKNOWN' })
  })

  t.test('processes(): those that consume, with what they consume; one that leaves is gone, one that was killed is not seen any more', async (t) => {
    const tasks = defineTasks({ effect: { handler () {} }, rest: { handler () {} } })
    const prefix = 'processes'
    const app = await build(t, server, { tasks, prefix, consume: false })
    t.strictSame(await operate(app).processes(), [], 'who consumes nothing is none of them')
    const before = Date.now()
    const one = await startProcess(t, { path: server.path, prefix, consume: ['rest'], concurrency: 3 })
    const other = await startProcess(t, { path: server.path, prefix })
    const nameOf = (pid: number): string => `${hostname()}:${pid}`
    await eventually(async () => (await operate(app).processes()).length === 2, 'both are seen')
    const [found] = (await operate(app).processes()).filter(({ name }) => name === nameOf(one.pid))
    t.match(found, { consumes: ['rest'], concurrency: 3 })
    t.ok(found!.startedAt >= before && found!.startedAt <= Date.now())
    t.ok(found!.seenMs >= 0 && found!.seenMs < 60_000)
    await other.terminate()
    t.strictSame((await operate(app).processes()).map(({ name }) => name), [nameOf(one.pid)])
    await one.kill()
    await eventually(async () => (await operate(app).processes())[0]!.seenMs > 5_500, 'its silence grows')
  })

  t.test('processes(): Redis keeps the 200 that were seen last, and an answer is no longer, however many processes crash', async (t) => {
    const tasks = defineTasks({ work: { handler () {} } })
    const prefix = 'crashes'
    const key = `${prefix}:tasks:processes`
    const redis = server.client()
    const now = Date.now()
    for (let n = 0; n < 300; n++) await redis.zadd(key, now - n, JSON.stringify({ name: `crashed:${n}`, consumes: ['work'], concurrency: 1, startedAt: 0 }))
    await redis.zadd(key, now - 4_000_000, 'older than an hour')
    const app = await build(t, server, { tasks, prefix })
    await eventually(async () => await redis.zcard(key) === 200, 'the others are forgotten')
    const found = await operate(app).processes()
    t.equal(found.length, 200)
    t.equal(found[0]?.name, `${hostname()}:${process.pid}`)
    t.ok(await redis.pttl(key) > 0, 'all of it is forgotten with the last process')
  })
})
