import t from 'tap'
import Fastify from 'fastify'
import { AssertionError } from 'node:assert'
import { drainablesOf } from '../plugins/shared/drainables.ts'
import lifecycle from '../plugins/lifecycle/index.ts'
import { assertIdle } from '../plugins/testing.ts'
import { deferred, fakeDrainable } from './lifecycle/fixtures.ts'

t.test('an idle app passes: without the suite, before close and after it', async () => {
  const bare = Fastify()
  await assertIdle(bare)
  const app = Fastify()
  await app.register(lifecycle, { livePath: '/live' })
  await app.inject('/live')
  await assertIdle(app)
  await app.close()
  await assertIdle(app)
  await bare.close()
})

t.test('work that ends within the time given is waited for', async (t) => {
  const app = Fastify()
  const tasks = fakeDrainable('tasks', 'tasks')
  drainablesOf(app).add(tasks)
  tasks.hold('t1')
  setTimeout(() => tasks.finish('t1'), 20)
  await assertIdle(app)
  t.equal(tasks.pending, 0)
  await app.close()
})

t.test('the error names the work that is left', async (t) => {
  const app = Fastify()
  const go = deferred()
  await app.register(lifecycle)
  app.get('/users/:id', async () => go.promise)
  const tasks = fakeDrainable('tasks', 'tasks')
  tasks.hold('t1')
  drainablesOf(app).add(tasks).add({ ...fakeDrainable('limiter', 'tasks'), timers: 1 })
  const forgotten = (): void => {}
  process.on('SIGTERM', forgotten)
  t.teardown(() => process.removeListener('SIGTERM', forgotten))
  const answer = app.inject('/users/1')
  answer.catch(() => {})

  const error: unknown = await assertIdle(app, { within: 20 }).then(() => undefined, (error: unknown) => error)
  t.ok(error instanceof AssertionError)
  t.match(error, { message: /^Not idle:\n- requests holds 1: request GET \/users\/:id \(req-\w+, for \d+ ms\)\n- tasks holds 1: task tasks \(t1, for 0 ms\)\n- limiter has 1 active timer\n- a listener on SIGTERM: forgotten$/ })
  go.resolve()
  await answer
  tasks.finish('t1')
  await app.close()
})

t.test('listeners that were there when the application was created are the test runner\'s, also as late as in a test', async (t) => {
  const late = (): void => {}
  process.on('SIGTERM', late)
  t.teardown(() => process.removeListener('SIGTERM', late))
  const app = Fastify()
  app.register(async (inner) => { inner.addHook('onReady', async () => assertIdle(inner)) })
  await app.ready()
  await assertIdle(app)
  await app.close()
})
