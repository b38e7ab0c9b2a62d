// Fair: one client or one kind of task can't starve the others, nor fill the queue against them.
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import tasks, { defineTasks, type TasksOptions } from '../../plugins/tasks/index.ts'
import { assertIdle } from '../../plugins/testing.ts'
import { deferred, rejection, until } from '../helper.ts'

async function build (t: Test, options: TasksOptions = {}): Promise<FastifyInstance> {
  const app = Fastify() as unknown as FastifyInstance
  t.teardown(async () => {
    await app.close()
    await assertIdle(app)
  })
  await app.register(tasks, options)
  return app
}

/** Submits tasks until one is refused; returns how many were accepted. */
function flood (app: FastifyInstance, name: string, fn: () => unknown, key?: string): number {
  for (let i = 0; ; i++) {
    try {
      app.tasks.submit(`${name}:${i}`, fn, key === undefined ? {} : { key })
    } catch {
      return i
    }
  }
}

t.test('one client fills half of the queue with webhooks to a silent peer; twenty other clients are accepted, and their tasks run next', async (t) => {
  const app = await build(t, { concurrency: 4, maxQueue: 100 })
  const go = deferred()
  const order: string[] = []
  app.post('/hooks', async () => ({ accepted: flood(app, 'hook', async () => { order.push('hook'); await go.promise }) }))
  app.post<{ Params: { n: string } }>('/mail/:n', async ({ params }) => {
    app.tasks.submit(`mail:${params.n}`, () => { order.push('mail') })
  })
  const { accepted } = (await app.inject({ method: 'POST', url: '/hooks', remoteAddress: '203.0.113.1' })).json<{ accepted: number }>()
  t.equal(accepted, 54)
  // On a slow machine the scheduler starts them in more than one turn of the event loop.
  await until(() => order.length === 4, 'four tasks of the first client run')
  for (let i = 0; i < 20; i++) {
    t.equal((await app.inject({ method: 'POST', url: `/mail/${i}`, remoteAddress: `198.51.100.${i}` })).statusCode, 200)
  }
  go.resolve()
  await app.tasks.idle()
  t.same(order.slice(0, 4), Array(4).fill('hook'), 'they ran when the others came')
  t.equal(order.slice(4, 4 + 21).filter((name) => name === 'mail').length, 20, 'each of the others has its turn before the second of the first client')
})

t.test('a refusal says whether the queue is full, or the share of the key', async (t) => {
  const app = await build(t, { concurrency: 1, maxQueue: 4 })
  const go = deferred()
  const full = (key: string): unknown => {
    flood(app, key, async () => go.promise, key)
    try {
      return app.tasks.submit('another', () => {}, { key })
    } catch (error) {
      return error
    }
  }
  t.match(full('a'), { code: 'FC_ERR_TASKS_FULL', limit: 5, ofKey: { waiting: 3, limit: 3 } })
  for (const key of ['b', 'c', 'd', 'e']) flood(app, key, async () => go.promise, key)
  t.match(full('f'), { code: 'FC_ERR_TASKS_FULL', limit: 5, ofKey: undefined })
  go.resolve()
  await app.tasks.idle()
})

t.test('without a request the key is the name: a kind of task that fills the queue leaves places to others', async (t) => {
  const app = await build(t, { concurrency: 1, maxQueue: 10, tasks: defineTasks({ mail: { handler: () => 'sent' } }) })
  const go = deferred()
  t.equal(flood(app, 'hook', () => go.promise), 6)
  const enqueue = app.tasks.enqueue as unknown as (name: string) => Promise<{ done: Promise<unknown> }>
  const mail = await enqueue('mail')
  go.resolve()
  t.equal(await mail.done, 'sent')
})

t.test('tasks with a key of their own: tenants share the queue, whatever their addresses and names are', async (t) => {
  const app = await build(t, { concurrency: 1, maxQueue: 10 })
  const go = deferred()
  const order: string[] = []
  app.tasks.submit('block', () => go.promise)
  await until(() => app.tasks.stats().running === 1, 'it runs')
  for (const key of ['a', 'a', 'a', 'b', 'b']) app.tasks.submit(`${key}:${order.length}:${Math.random()}`, () => { order.push(key) }, { key })
  {
    using place = app.tasks.reserve({ key: 'c' })
    place.submit('c', () => { order.push('c') })
  }
  go.resolve()
  await app.tasks.idle()
  // Who is next in the second round depends on how long the tasks of the first one took.
  t.same(order.slice(0, 3), ['a', 'b', 'c'])
  t.same(order.slice(3).sort(), ['a', 'a', 'b'])
  for (const wrong of [() => app.tasks.submit('x', () => {}, { key: 7 as never }), () => app.tasks.reserve({ key: 7 as never })]) t.throws(wrong, { code: 'FC_ERR_OPTION_INVALID' })
  using place = app.tasks.reserve()
  t.throws(() => place.submit('x', () => {}, { key: 'a' } as never), { code: 'FC_ERR_OPTION_INVALID' })
})

t.test('a key with hundreds of tasks waiting delays the first task of another key by one turn', async (t) => {
  const app = await build(t, { concurrency: 1 })
  const go = deferred()
  const order: string[] = []
  app.tasks.submit('block', () => go.promise)
  await until(() => app.tasks.stats().running === 1, 'it runs')
  for (let i = 0; i < 400; i++) app.tasks.submit(`hook:${i}`, () => { order.push('hook') })
  app.tasks.submit('mail', () => { order.push('mail') })
  go.resolve()
  await app.tasks.idle()
  t.same(order.slice(0, 2), ['hook', 'mail'])
  t.equal(order.length, 401)
})

t.test('slots are shared by time: a tenant whose tasks are slow has one turn while another has many', async (t) => {
  const app = await build(t, { concurrency: 1 })
  const go = deferred()
  const order: string[] = []
  app.tasks.submit('block', () => go.promise)
  await until(() => app.tasks.stats().running === 1, 'it runs')
  for (let i = 0; i < 3; i++) {
    app.tasks.submit(`slow:${i}`, async () => { order.push('slow'); await setTimeout(100) })
    app.tasks.submit(`quick:${i}`, () => { order.push('quick') })
  }
  go.resolve()
  await app.tasks.idle()
  t.same(order, ['slow', 'quick', 'quick', 'quick', 'slow', 'slow'])
})

t.test('a waiting task that is cancelled, and one that is tried again, keep the turns of the others', async (t) => {
  const app = await build(t, { concurrency: 1 })
  const go = deferred()
  const order: string[] = []
  app.tasks.submit('block', () => go.promise)
  await until(() => app.tasks.stats().running === 1, 'it runs')
  const submit = (id: string, key: string) => app.tasks.submit(id, () => { order.push(id) }, { key })
  const [first] = [submit('a1', 'a'), submit('a2', 'a'), submit('b1', 'b'), submit('a3', 'a')]
  let attempts = 0
  const again = app.tasks.submit('c', () => { if (++attempts === 1) throw new Error('once') }, { key: 'c', retries: 1, backoff: { base: 0 } })
  first.cancel()
  t.match(await rejection(first.done), { code: 'FC_ERR_TASK_ABORTED' })
  go.resolve()
  await Promise.all([app.tasks.idle(), again.done])
  t.same(order, ['a2', 'b1', 'a3'])
  t.equal(attempts, 2)
})

t.test('Retry-After is when the first of the silent tasks is due', async (t) => {
  const app = await build(t, { concurrency: 2, maxQueue: 1 })
  const go = deferred()
  flood(app, 'hook', () => go.promise)
  await until(() => app.tasks.stats().running === 2, 'they run')
  t.match(await rejection((async () => app.tasks.submit('hook', () => {}))()), { code: 'FC_ERR_TASKS_FULL', retryAfter: 30 })
  go.resolve()
})

t.test('an engine factory that returns no engine is refused by name', async (t) => {
  for (const engine of [() => {}, () => null, async () => ({})]) {
    const app = Fastify()
    t.match(await rejection((async () => app.register(tasks, { engine: engine as never }))()), { code: 'FC_ERR_OPTION_INVALID', message: /tasks\.engine/ })
    await app.close()
  }
})
