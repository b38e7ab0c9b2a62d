// What an operator does with stored tasks: failed(), retry(), discard(), pause().
import t from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { randomUUID } from 'node:crypto'
import tasks, { defineTasks, type FailedTask, type Operating } from '../../../plugins/tasks/index.ts'
import { deferred, logLines, rejection, until } from '../../helper.ts'
import { noRedis, startRedis } from '../../limiter/redis.ts'
import { build, enqueueOf } from './helper.ts'
import { eventually } from './processes.ts'

const skip = await noRedis()

/** The calls whose types know only the names of the application. */
const operate = (app: FastifyInstance): Operating => app.tasks as never

/** Enqueues, and waits for the failure. */
async function fail (app: FastifyInstance, payload?: unknown, options?: object): Promise<void> {
  await rejection((await enqueueOf(app)('work', payload, options)).done)
}

t.test('on Redis', { skip }, async (t) => {
  const server = await startRedis(t)

  t.test('failed(): the latest first, with error, stack, attempts and times; the payload only if asked for', async (t) => {
    const app = await build(t, server, {
      tasks: defineTasks({
        work: {
          handler: (n: number) => { throw Object.assign(new RangeError(`no ${n}`), { code: 'E_NO' }) },
          retries: 1,
          backoff: { base: 1, max: 1 }
        }
      })
    })
    const before = Date.now()
    await fail(app, 1)
    await fail(app, { secret: 2 }, { id: 'two' })
    const [two, one] = await operate(app).failed('work') as [FailedTask, FailedTask]
    t.match(two, { id: 'work:two', error: { name: 'RangeError', code: 'E_NO' }, attempts: 2 })
    t.match(one.error.stack, /^RangeError \[E_NO\]: no 1\n {4}at .*operations\.test/)
    t.equal(one.id, `work:${one.storedId}`)
    t.ok(one.enqueuedAt >= before && one.failedAt >= one.enqueuedAt && one.failedAt <= Date.now())
    t.notOk('payload' in two)
    t.same((await operate(app).failed('work', { payload: true })).map(({ payload }) => payload), [{ secret: 2 }, 1])
    t.match(await operate(app).failed('work', { offset: 1, limit: 1 }), [{ id: one.id }])
    t.same(await operate(app).failed('work', { offset: 2 }), [])
  })

  t.test('retry(): a failed task runs again, with its attempts as new and the same idempotencyKey', async (t) => {
    const seen: Array<{ attempt: number, key: string }> = []
    let works = false
    const app = await build(t, server, {
      tasks: defineTasks({
        work: {
          handler: (_payload: unknown, { attempt, idempotencyKey: key }) => {
            seen.push({ attempt, key })
            if (!works) throw new Error('x')
          },
          retries: 1,
          backoff: { base: 1, max: 1 }
        }
      })
    })
    for (const options of [undefined, { id: 'chosen:42' }]) {
      works = false
      seen.length = 0
      await fail(app, 'payload', options)
      const [{ id, storedId }] = await operate(app).failed('work') as [FailedTask]
      await operate(app).retry('work', id)
      await until(() => seen.length === 4, 'it has two more attempts')
      await eventually(async () => (await operate(app).failed('work')).length === 1, 'it has failed again')
      works = true
      await operate(app).retry('work', storedId)
      await until(() => seen.length === 5, 'it runs again')
      t.same(seen, [1, 2, 1, 2, 1].map((attempt) => ({ attempt, key: storedId })))
      await app.tasks.idle()
      t.same(await operate(app).failed('work'), [])
    }
  })

  t.test('retry(): the id that was chosen is taken again, so that one id runs once at a time, and free afterwards', async (t) => {
    const go = deferred()
    let [fails, runs] = [true, 0]
    const app = await build(t, server, {
      tasks: defineTasks({ work: { handler: async () => { if (fails) throw new Error('x'); runs++; await go.promise } } })
    })
    // More than a page of them.
    for (let n = 0; n <= 100; n++) await fail(app, n, { id: 'one' })
    await fail(app, 101, { id: 'other' })
    fails = false
    t.equal(await operate(app).retryAll('work'), 2, 'those of an id that waits stay')
    const left = await operate(app).failed('work', { payload: true })
    t.same(left.map(({ payload }) => payload), Array.from({ length: 100 }, (_, n) => 100 - n), 'the oldest was first')
    t.match(await rejection(enqueueOf(app)('work', 0, { id: 'one' })), { code: 'FC_ERR_TASK_DUPLICATE' })
    t.match(await rejection(operate(app).retry('work', 'work:one')), { code: 'FC_ERR_TASK_DUPLICATE' })
    go.resolve()
    await until(() => runs === 2, 'both run')
    await app.tasks.idle()
    await (await enqueueOf(app)('work', 0, { id: 'one' })).done
    await operate(app).retry('work', 'work:one')
    await until(() => runs === 4, 'the last one runs')
  })

  t.test('retryAll(): each task that had failed runs once more, though they fail again at once', async (t) => {
    const counts = new Map<number, number>()
    const { lines, logger } = logLines()
    const app = await build(t, server, {
      tasks: defineTasks({
        work: { handler: (n: number) => { counts.set(n, (counts.get(n) ?? 0) + 1); throw new Error('x') } }
      })
    }, { logger })
    for (let n = 0; n < 250; n++) await enqueueOf(app)('work', n)
    const hasFailed = async (): Promise<boolean> => (await app.tasks.queues())[0]?.failed === 250
    await eventually(hasFailed, 'all have failed')
    t.equal(await operate(app).retryAll('work'), 250)
    await eventually(hasFailed, 'all have failed again')
    t.same([...new Set(counts.values())], [2])
    t.equal((await operate(app).failed('work', { limit: 230 })).length, 230)
    t.ok(lines.some(({ msg, count }) => msg.includes('retryAll') && count === 250), 'the log says who runs again, and how many')
    t.equal(await operate(app).discardAll('work'), 250)
    t.match(await app.tasks.queues(), [{ failed: 0, waiting: 0 }])
  })

  t.test('discard(): a failed task is forgotten with its payload, and its id is free', async (t) => {
    const prefix = randomUUID()
    const app = await build(t, server, { prefix, tasks: defineTasks({ work: { handler: () => { throw new Error('x') } } }) })
    await fail(app, 1, { id: 'one' })
    await fail(app, 2)
    const [{ id, storedId }] = await operate(app).failed('work') as [FailedTask]
    await operate(app).discard('work', id)
    await operate(app).discard('work', 'work:one')
    t.same(await operate(app).failed('work'), [])
    t.match(await rejection(operate(app).discard('work', storedId)), { code: 'FC_ERR_TASK_NOT_FOUND' })
    t.same((await server.client().keys(`${prefix}:*`)).filter((key) => !/:(?:meta|events|marker|id|stalled-check|processes)$/.test(key)), [])
    await fail(app, 3, { id: 'one' })
  })

  t.test('a task that is retried and discarded at the same time is one of the two, and is not lost', async (t) => {
    const ran: number[] = []
    let fails = true
    const options = {
      prefix: randomUUID(),
      tasks: defineTasks({ work: { handler: (n: number) => { if (fails) throw new Error('x'); ran.push(n) } } })
    }
    const [app, other] = [await build(t, server, options), await build(t, server, { ...options, consume: false })]
    for (let n = 0; n < 60; n++) await fail(app, n)
    fails = false
    const failed = await operate(app).failed('work', { payload: true })
    const discarded: number[] = []
    await Promise.all(failed.map(async ({ storedId, payload }) => {
      const [retry, discard] = await Promise.allSettled([operate(app).retry('work', storedId), operate(other).discard('work', storedId)])
      t.notSame(retry.status, discard.status)
      if (discard.status === 'fulfilled') discarded.push(payload as number)
    }))
    await until(() => ran.length + discarded.length === 60, 'each has run or is forgotten')
    t.same([...ran, ...discarded].sort((a, b) => a - b), Array.from({ length: 60 }, (_, n) => n))
  })

  t.test('what can\'t be retried or discarded is refused, and the error says why', async (t) => {
    const [go, began] = [deferred(), deferred()]
    const app = await build(t, server, { concurrency: 1, tasks: defineTasks({ work: { handler: async (waits: boolean) => { if (waits) { began.resolve(); await go.promise } } } }) })
    const done = await enqueueOf(app)('work', false)
    await done.done
    const running = await enqueueOf(app)('work', true)
    await began.promise
    const waiting = await enqueueOf(app)('work', false, { id: 'chosen' })
    const states = [[done, 'completed'], [running, 'running'], [waiting, 'waiting']] as const
    const { retry, discard } = operate(app)
    for (const call of [retry, discard]) {
      for (const [{ id }, state] of states) {
        t.match(await rejection(call('work', id)), { code: 'FC_ERR_TASK_NOT_FAILED', statusCode: 409, state, id })
      }
      for (const id of ['work:none', 'other:none', 'meta', 'work:meta', randomUUID(), `work:${randomUUID()}`, '42']) {
        t.match(await rejection(call('work', id)), { code: 'FC_ERR_TASK_NOT_FOUND', statusCode: 404, id })
      }
      for (const id of [undefined, '', 7]) t.match(await rejection(call('work', id as string)), { code: 'FC_ERR_OPTION_INVALID' })
    }
    const calls = ['failed', 'retry', 'retryAll', 'discard', 'discardAll', 'pause', 'resume', 'isPaused'] as const
    for (const call of calls) t.match(await rejection(operate(app)[call]('none', (call === 'failed' ? {} : 'x') as never)), { code: 'FC_ERR_TASK_UNKNOWN' }, call)
    for (const options of [{ offset: -1 }, { limit: 0 }, { limit: 1_001 }, { payload: 1 }, { start: 1 }]) {
      t.match(await rejection(operate(app).failed('work', options as never)), { code: 'FC_ERR_OPTION_INVALID' })
    }
    go.resolve()
    await waiting.done
  })

  t.test('pause(): no process begins a task of the name, what runs ends, and other names go on', async (t) => {
    const [go, began] = [deferred(), deferred()]
    const ran: string[] = []
    const definitions = (who: string): ReturnType<typeof defineTasks> => defineTasks({
      work: { handler: async (n: number) => { ran.push(`${who} ${n}`); if (n === 1) { began.resolve(); await go.promise } } },
      rest: { handler: () => 'done' }
    })
    const prefix = randomUUID()
    const web = await build(t, server, { prefix, consume: false, tasks: definitions('web') })
    await build(t, server, { prefix, concurrency: 1, tasks: definitions('one') })
    const first = await enqueueOf(web)('work', 1)
    await began.promise
    await operate(web).pause('work')
    await operate(web).pause('work')
    const others = [await enqueueOf(web)('work', 2), await enqueueOf(web)('work', 3, { delay: 1 })]
    go.resolve()
    await first.done
    // A process that starts meanwhile, and each that consumes, gets through a task of another name.
    await build(t, server, { prefix, tasks: definitions('two') })
    for (let n = 0; n < 20; n++) await (await enqueueOf(web)('rest')).done
    t.same(ran, ['one 1'])
    t.match(await web.tasks.queues(), [{ name: 'work', running: 0, paused: true }, { name: 'rest', paused: false }])
    t.equal(await operate(web).isPaused('work'), true)
    t.match(await rejection(operate(web).retry('work', others[0]!.id)), { code: 'FC_ERR_TASK_NOT_FAILED', state: 'waiting' })
    await operate(web).resume('work')
    await operate(web).resume('work')
    for (const { done } of others) await done
    t.equal(await operate(web).isPaused('work'), false)
    t.equal(ran.length, 3)
  })

  t.test('retryAll() ends with the shutdown, of a Redis that is frozen too', async (t) => {
    const frozen = await startRedis(t)
    const definitions = defineTasks({ work: { handler: () => { throw new Error('x') } } })
    const app = Fastify() as unknown as FastifyInstance
    await app.register(tasks, { redis: frozen.client(), storeTimeout: 60_000, tasks: definitions })
    await app.ready()
    for (let n = 0; n < 3; n++) await fail(app, n)
    frozen.signal('SIGSTOP')
    const all = [operate(app).retryAll('work'), operate(app).discardAll('work'), operate(app).failed('work')].map(rejection)
    await app.close()
    for (const error of await Promise.all(all)) t.match(error, { code: 'FC_ERR_TASK_STORE' })
    t.match(await rejection(operate(app).retryAll('work')), { code: 'FC_ERR_CLOSING' })
    frozen.signal('SIGCONT')
  })
})
