import t from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import tasks, { defineTasks } from '../../../plugins/tasks/index.ts'
import { assertIdle } from '../../../plugins/testing.ts'
import { deferred, rejection } from '../../helper.ts'
import { engineContract } from './engine-contract.ts'

engineContract(t, {
  name: 'memory',
  build: async (t, options) => {
    const app = Fastify() as unknown as FastifyInstance
    t.teardown(async () => {
      await app.close()
      await assertIdle(app)
    })
    await app.register(tasks, options)
    await app.ready()
    return app
  }
})

t.test('memory engine: what waits is finished too before the app has closed', async (t) => {
  const app = Fastify()
  const go = deferred()
  await app.register(tasks, { concurrency: 1, tasks: defineTasks({ work: { handler: () => go.promise } }) })
  const enqueue = app.tasks.enqueue.bind(app.tasks) as unknown as (name: string) => Promise<{ status: string }>
  const handles = [await enqueue('work'), await enqueue('work')]
  const closed = app.close()
  go.resolve()
  await closed
  t.same(handles.map(({ status }) => status), ['completed', 'completed'])
})

t.test('memory engine: schedules need tasks that are stored, and say so', async (t) => {
  const app = Fastify()
  await app.register(tasks, { tasks: defineTasks({ work: { handler () {} } }) })
  const { schedule, unschedule } = app.tasks as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>
  t.match(await rejection(schedule!('work', { every: 60_000 })), { code: 'FC_ERR_TASKS_NOT_STORED', message: /tasks\.schedule\(\).*redis/ })
  t.match(await rejection(unschedule!('work')), { code: 'FC_ERR_TASKS_NOT_STORED' })
  t.match(await rejection(schedule!('walk', { every: 60_000 })), { code: 'FC_ERR_TASK_UNKNOWN' })
  for (const when of [undefined, {}, { every: 5 }, { every: '1m' }, { cron: '' }, { cron: '* * * * *', every: 60_000 }, { cron: '* * * * *', zone: 'UTC' }]) {
    t.match(await rejection(schedule!('work', when)), { code: 'FC_ERR_OPTION_INVALID' }, JSON.stringify(when))
  }
  for (const id of ['', 'a:b', 1]) t.match(await rejection(schedule!('work', { every: 60_000 }, undefined, { id })), { code: 'FC_ERR_OPTION_INVALID' })
  t.same(await app.tasks.queues(), [])
  await app.close()
})

t.test('memory engine: what an operator does with stored tasks needs tasks that are stored, and says so', async (t) => {
  const app = Fastify()
  await app.register(tasks, { tasks: defineTasks({ work: { handler () {} } }) })
  const calls = app.tasks as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>
  for (const call of ['failed', 'inspect', 'retry', 'retryAll', 'discard', 'discardAll', 'pause', 'resume', 'isPaused']) {
    const args = ['retry', 'discard'].includes(call) ? ['work', 'id'] : ['work']
    t.match(await rejection(calls[call]!(...args)), { code: 'FC_ERR_TASKS_NOT_STORED', message: new RegExp(`tasks\\.${call}\\(\\)`) })
  }
  t.match(await rejection(calls['processes']!()), { code: 'FC_ERR_TASKS_NOT_STORED' })
  await app.close()
})

t.test('memory engine: cancel() knows submitted tasks by their ids, too', async (t) => {
  const app = Fastify()
  await app.register(tasks)
  const { done } = app.tasks.submit('mail:1', ({ signal }) => new Promise((_resolve, reject) => { signal.onabort = () => reject(signal.reason as Error) }))
  t.equal(await app.tasks.cancel('mail:1'), true)
  t.match(await rejection(done), { code: 'FC_ERR_TASK_ABORTED' })
  t.equal(await app.tasks.cancel('mail:1'), false)
  await app.close()
})

t.test('memory engine: named tasks and submitted tasks share the same places', async (t) => {
  const app = Fastify()
  const go = deferred()
  await app.register(tasks, { concurrency: 1, maxQueue: 0, tasks: defineTasks({ work: { handler: () => go.promise } }) })
  const enqueue = app.tasks.enqueue.bind(app.tasks) as unknown as (name: string) => Promise<unknown>
  app.tasks.submit('other', () => go.promise)
  t.match(await rejection(enqueue('work')), { code: 'FC_ERR_TASKS_FULL' })
  go.resolve()
  await app.close()
})

t.test('a Standard Schema validates payloads too', async (t) => {
  const app = Fastify()
  const schema = {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: async (value: unknown) => value === 7 ? { value } : { issues: [{ message: 'is not seven', path: ['a', { key: 0 }] }] }
    }
  }
  await app.register(tasks, { tasks: defineTasks({ seven: { handler: (n: number) => n, schema } }) })
  const enqueue = app.tasks.enqueue.bind(app.tasks) as unknown as (name: string, payload: unknown) => Promise<{ done: Promise<unknown> }>
  t.equal(await (await enqueue('seven', 7)).done, 7)
  t.match(await rejection(enqueue('seven', 8)), { code: 'FC_ERR_TASK_PAYLOAD', message: 'The payload of task "seven" isn\'t valid: payload/a/0 is not seven' })
  await app.close()
})

t.test('the payload is what it was when enqueue() was called; bad options are refused by code', async (t) => {
  const app = Fastify()
  const checking = deferred()
  const schema = { '~standard': { validate: async (value: unknown) => { await checking.promise; return { value } } } }
  await app.register(tasks, { tasks: defineTasks({ echo: { handler: (value: unknown) => value, schema } }) })
  const enqueue = app.tasks.enqueue.bind(app.tasks) as unknown as (name: string, payload: unknown, options?: unknown) => Promise<{ done: Promise<unknown> }>
  const payload: Record<string, unknown> = { n: 1 }
  const accepted = enqueue('echo', payload)
  payload['n'] = 2n
  checking.resolve()
  t.same(await (await accepted).done, { n: 1 })
  for (const options of [null, 'x', { wait: new AbortController().signal }, { id: '' }, { retries: NaN }, { delay: -1 }]) {
    t.match(await rejection(enqueue('echo', 1, options)), { code: 'FC_ERR_OPTION_INVALID' })
  }
  await app.close()
})

t.test('definitions: a bad name, handler, option or schema is refused at boot', async (t) => {
  for (const definitions of [
    { 'a:b': { handler () {} } }, { '': { handler () {} } }, { a: {} }, { a: { handler: 'x' } }, { a: { handler () {}, retry: 1 } },
    { a: { handler () {}, timeout: -1 } }, { a: { handler () {}, schema: 'x' } }, { a: { handler () {}, schema: { type: 'nonsense' } } }, { a: null }
  ]) {
    const app = Fastify()
    t.match(await rejection((async () => app.register(tasks, { tasks: definitions as never }))()), { code: 'FC_ERR_OPTION_INVALID' }, JSON.stringify(definitions))
    await app.close()
  }
})
