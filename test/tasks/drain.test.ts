import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import lifecycle, { type LifecycleOptions } from '../../plugins/lifecycle/index.ts'
import tasks, { type TasksOptions } from '../../plugins/tasks/index.ts'
import { assertIdle } from '../../plugins/testing.ts'
import { deferred, logLines, rejection, until } from '../helper.ts'
import { phase } from '../lifecycle/fixtures.ts'

async function build (t: Test, options: LifecycleOptions = {}, taskOptions: TasksOptions = {}, before: (app: FastifyInstance) => Promise<void> = async () => {}): Promise<FastifyInstance> {
  const app = Fastify({ logger: logLines().logger }) as unknown as FastifyInstance
  t.teardown(async () => {
    await app.close()
    await assertIdle(app)
  })
  await before(app)
  await app.register(lifecycle, { timeout: 20_000, ...options })
  await app.register(tasks, taskOptions)
  return app
}

t.test('submit in each phase', async (t) => {
  const app = await build(t, { delay: 200 })
  const inPhase: Record<string, string> = {}
  const attempt = (): void => {
    try {
      app.tasks.submit(`probe:${app.lifecycle.phase}`, () => {})
      inPhase[app.lifecycle.phase] = 'accepted'
    } catch (error) {
      inPhase[app.lifecycle.phase] = (error as { code: string }).code
    }
  }
  const request = deferred()
  const task = deferred()
  app.get('/', async () => request.promise)
  app.addHook('onClose', async () => { attempt() })
  await app.ready()
  attempt()
  const answer = app.inject('/')
  const slow = app.tasks.submit('slow', () => task.promise)
  const shutdown = app.lifecycle.shutdown()
  attempt()
  await phase(app, 'requests')
  attempt()
  request.resolve()
  await answer
  await phase(app, 'tasks')
  attempt()
  task.resolve()
  await slow.done
  const { unfinished } = await shutdown
  attempt()
  t.same(unfinished, [])
  t.same(inPhase, {
    serving: 'accepted', leaving: 'accepted', requests: 'accepted', tasks: 'accepted', closing: 'FC_ERR_CLOSING', closed: 'FC_ERR_CLOSING'
  })
})

t.test('a draining task may submit what its own finish needs, and the drain waits for that too', async (t) => {
  const app = await build(t)
  const go = deferred()
  const order: string[] = []
  app.tasks.submit('parent', async () => {
    await go.promise
    const child = app.tasks.submit('child', async () => {
      await new Promise(setImmediate)
      order.push('child')
    })
    await child.done
    app.tasks.submit('orphan', async () => {
      await new Promise(setImmediate)
      order.push('orphan')
    })
    order.push('parent')
  })
  await app.ready()
  const shutdown = app.lifecycle.shutdown()
  await phase(app, 'tasks')
  go.resolve()
  t.match(await shutdown, { completed: 3, unfinished: [] })
  t.same(order, ['child', 'parent', 'orphan'])
})

t.test('a task that goes on submitting is bounded by the deadline', async (t) => {
  const app = await build(t, { timeout: 100, grace: 20 })
  let n = 0
  const again = async (): Promise<void> => {
    await new Promise(setImmediate)
    app.tasks.submit(`again:${++n}`, again)
  }
  app.tasks.submit('again:0', again)
  await app.ready()
  const { unfinished, durationMs } = await app.lifecycle.shutdown()
  t.ok(durationMs < 5_000)
  t.ok(unfinished.length >= 1)
  t.ok(unfinished.every(({ name }) => name === 'again'))
})

t.test('a database-like plugin before the suite and one after it are open while tasks drain, and while a retry is waited for', async (t) => {
  const state = { before: 'open', after: 'open' }
  const database = (name: 'before' | 'after') => fp(async (app) => {
    app.addHook('onClose', async () => { state[name] = 'closed' })
  }, { name })
  const app = await build(t, {}, {}, async (app) => { await app.register(database('before')) })
  await app.register(database('after'))
  const go = deferred()
  const writes: unknown[] = []
  app.tasks.submit('write', async ({ attempt }) => {
    await go.promise
    writes.push({ ...state })
    if (attempt === 1) throw new Error('again')
  }, { retries: 1, backoff: { base: 50 } })
  await app.ready()
  const shutdown = app.lifecycle.shutdown()
  await phase(app, 'tasks')
  go.resolve()
  t.match(await shutdown, { completed: 1, unfinished: [] })
  t.same(writes, [{ before: 'open', after: 'open' }, { before: 'open', after: 'open' }])
  t.same(state, { before: 'closed', after: 'closed' })
})

t.test('a drain does not wait for a long backoff or a delay: it reports the task, with its last error', async (t) => {
  const app = await build(t)
  const failing = deferred()
  const go = deferred()
  const retrying = app.tasks.submit('webhook:1', async () => {
    failing.resolve()
    throw Object.assign(new Error('busy'), { retryAfter: 60 })
  }, { retries: 5 })
  const delayed = app.tasks.submit('reminder:1', () => {}, { delay: 3_600_000 })
  const later = app.tasks.submit('webhook:2', async () => {
    await go.promise
    throw Object.assign(new Error('busy too'), { retryAfter: 60 })
  }, { retries: 5 })
  await failing.promise
  await until(() => retrying.status === 'retrying', 'it waits')
  await app.ready()
  const shutdown = app.lifecycle.shutdown()
  await phase(app, 'tasks')
  t.match(await rejection(delayed.done), { code: 'FC_ERR_TASK_ABORTED', id: 'reminder:1', message: /^A task was aborted: the shutdown does not wait for its delay or retry$/ })
  t.match(await rejection(retrying.done), { code: 'FC_ERR_TASK_ABORTED', cause: { message: 'busy' } })
  go.resolve()
  t.match(await rejection(later.done), { code: 'FC_ERR_TASK_ABORTED', cause: { message: 'busy too' } }, 'one that fails while draining as well')
  const { unfinished, durationMs } = await shutdown
  t.ok(durationMs < 10_000)
  t.match(unfinished.map(({ kind, name, id, attempt }) => ({ kind, name, id, attempt })), [
    { kind: 'task', name: 'reminder', id: 'reminder:1', attempt: 0 },
    { kind: 'task', name: 'webhook', id: 'webhook:1', attempt: 1 },
    { kind: 'task', name: 'webhook', id: 'webhook:2', attempt: 1 }
  ])
})

t.test('past the deadline signals abort: a task that obeys in time ends as failed or completed, and the report names the others', async (t) => {
  const app = await build(t, { timeout: 50, grace: 30 }, { concurrency: 3 })
  const deaf = deferred()
  app.tasks.submit('polite', ({ signal }) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))))
  const finishing = app.tasks.submit('finishing', ({ signal }) => new Promise<string>((resolve) => signal.addEventListener('abort', () => resolve('done'))))
  app.tasks.submit('deaf', () => deaf.promise)
  const queued = app.tasks.submit('queued', () => {})
  const waiting = app.tasks.reserve()
  await app.ready()
  const report = await app.lifecycle.shutdown('SIGTERM')
  t.equal(finishing.status, 'completed')
  t.equal(report.completed, 1)
  const byId = new Map(report.unfinished.map((each) => [each.id, each]))
  t.same([...byId.keys()].sort(), ['deaf', 'polite', 'queued'])
  t.match(await rejection(queued.done), { code: 'FC_ERR_TASK_ABORTED' })
  t.throws(() => waiting.submit('late', () => {}), { code: 'FC_ERR_CLOSING' })
  deaf.resolve()
})

t.test('shutdown() inside a task: not awaited it drains that task; awaited, the deadline reports it', async (t) => {
  const app = await build(t)
  await app.ready()
  let shutdown!: Promise<unknown>
  const task = app.tasks.submit('asks', async () => { shutdown = app.lifecycle.shutdown('from a task') })
  await task.done
  t.match(await shutdown, { reason: 'from a task', unfinished: [] })

  const other = await build(t, { timeout: 50, grace: 10 })
  await other.ready()
  const waits = other.tasks.submit('waits', async () => { await other.lifecycle.shutdown('from a task') })
  await until(() => other.lifecycle.phase === 'tasks', 'it drains')
  const { unfinished } = await other.lifecycle.shutdown()
  t.match(unfinished, [{ kind: 'task', id: 'waits' }])
  t.equal(waits.status, 'aborted')
})

t.test('a group in a task during a drain goes on', async (t) => {
  const app = await build(t)
  const go = deferred()
  const task = app.tasks.submit('fans out', async () => {
    await go.promise
    const group = app.tasks.group<number>()
    return group.map([1, 2, 3], async (n) => { await new Promise(setImmediate); return n * n })
  })
  await app.ready()
  const shutdown = app.lifecycle.shutdown()
  await phase(app, 'tasks')
  go.resolve()
  t.same(await task.done, [1, 4, 9])
  t.match(await shutdown, { unfinished: [] })
})
