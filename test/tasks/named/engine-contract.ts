/** What every engine promises. Each engine's test file calls it with a way to make an app on that engine. */
import type { Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { defineTasks, type EngineFactory, type TaskContext, type TasksOptions } from '../../../plugins/tasks/index.ts'
import { deferred, rejection, until } from '../../helper.ts'

export interface Seen {
  payload: unknown
  attempt: number
  id: string
  name: string
}

export interface EngineUnderTest {
  name: string
  engine: EngineFactory
  /** An app with the tasks plugin on that engine, ready; closed by the test's teardown. */
  build: (t: Test, options: TasksOptions) => Promise<FastifyInstance>
}

type Enqueue = (name: string, payload?: unknown, options?: object) => Promise<{ id: string, status: string, done: Promise<unknown> }>

export function engineContract (t: Test, { name, engine, build }: EngineUnderTest): void {
  async function start (t: Test, handler: (payload: never, context: TaskContext) => unknown, options: TasksOptions = {}, definition: object = {}): Promise<{ app: FastifyInstance, enqueue: Enqueue }> {
    const tasks = defineTasks({ work: { handler, ...definition } })
    const app = await build(t, { engine, tasks, ...options })
    return { app, enqueue: app.tasks.enqueue.bind(app.tasks) as unknown as Enqueue }
  }

  t.test(`${name}: the handler gets a copy of the payload and its context; its result is the handle's`, async (t) => {
    const seen: Seen[] = []
    const { enqueue } = await start(t, async (payload: { user: { id: number, nick?: string } }, { attempt, id, name, signal, deadline, log }) => {
      seen.push({ payload, attempt, id, name })
      t.ok(signal instanceof AbortSignal)
      t.ok(deadline > Date.now())
      log.debug('working')
      return { sent: payload.user.id }
    })
    const payload = { user: { id: 7, nick: undefined } }
    const handle = await enqueue('work', payload, { id: 'u7' })
    payload.user.id = 8
    t.equal(handle.id, 'work:u7')
    t.same(await handle.done, { sent: 7 })
    t.strictSame(seen, [{ payload: { user: { id: 7 } }, attempt: 1, id: 'work:u7', name: 'work' }])
    t.equal(handle.status, 'completed')
  })

  t.test(`${name}: tasks without an id never collide; a second task with an id is refused while the first waits or runs`, async (t) => {
    const go = deferred()
    const { enqueue } = await start(t, () => go.promise)
    const [a, b] = [await enqueue('work'), await enqueue('work')]
    t.not(a.id, b.id)
    await enqueue('work', 1, { id: 'x' })
    t.match(await rejection(enqueue('work', 2, { id: 'x' })), { code: 'FC_ERR_TASK_DUPLICATE' })
    t.equal((await enqueue('work', 3, { id: 'x', duplicate: 'join' })).id, 'work:x')
    go.resolve()
  })

  t.test(`${name}: a failed task is tried again with backoff, by the options of its definition or of the call`, async (t) => {
    const attempts: number[] = []
    const { enqueue } = await start(t, async (_payload: never, { attempt }) => {
      attempts.push(attempt)
      throw new RangeError(`attempt ${attempt}`)
    }, {}, { retries: 1, backoff: { base: 1 } })
    t.match(await rejection((await enqueue('work')).done), { name: 'RangeError', message: 'attempt 2' })
    t.match(await rejection((await enqueue('work', undefined, { retries: 0 })).done), { message: 'attempt 1' })
    t.same(attempts, [1, 2, 1])
  })

  t.test(`${name}: the deadline aborts the signal`, async (t) => {
    const { enqueue } = await start(t, ({ signal }: never) => signal, {}, {
      handler: (_payload: never, { signal }: TaskContext) => new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error))
      }),
      timeout: 10
    })
    t.match(await rejection((await enqueue('work')).done), { code: 'FC_ERR_TASK_TIMEOUT' })
  })

  t.test(`${name}: a task starts after its delay`, async (t) => {
    const { enqueue } = await start(t, () => performance.now())
    const before = performance.now()
    t.ok(await (await enqueue('work', undefined, { delay: 30 })).done as number - before >= 29)
  })

  t.test(`${name}: what was accepted is finished before the app has closed`, async (t) => {
    const go = deferred()
    const { app, enqueue } = await start(t, async () => { await go.promise; return 'finished' }, { concurrency: 1 })
    const handles = [await enqueue('work'), await enqueue('work')]
    const closed = app.close()
    go.resolve()
    await closed
    t.same(handles.map(({ status }) => status), ['completed', 'completed'])
    t.match(await rejection(enqueue('work')), { code: 'FC_ERR_CLOSING' })
  })

  t.test(`${name}: unknown names, and payloads that can't be stored or don't match, are refused, and the refusal is published`, async (t) => {
    const refusals: string[] = []
    const listener = (message: unknown): void => { refusals.push((message as { error: { code: string } }).error.code) }
    subscribe('fastify-concurrency:tasks:refused', listener)
    t.teardown(() => unsubscribe('fastify-concurrency:tasks:refused', listener))
    let calls = 0
    const { app, enqueue } = await start(t, () => { calls++ }, { concurrency: 1, maxQueue: 0 }, {
      schema: { type: 'object', required: ['to'], properties: { to: { type: 'string' } }, additionalProperties: false }
    })
    t.match(await rejection(enqueue('walk')), { code: 'FC_ERR_TASK_UNKNOWN', message: 'There is no task named "walk"; defined are work' })
    t.match(await rejection(enqueue('work', { to: () => {} })), { code: 'FC_ERR_TASK_PAYLOAD', message: 'The payload of task "work" can\'t be stored: payload.to is a function' })
    t.match(await rejection(enqueue('work', { to: 5 })), { code: 'FC_ERR_TASK_PAYLOAD', message: 'The payload of task "work" isn\'t valid: payload/to must be string' })
    t.match(await rejection(enqueue('work', {})), { message: /must have required property 'to'/ })
    t.match(await rejection(enqueue('work', { to: 'a', id: 1 }, { id: '' })), { code: 'FC_ERR_OPTION_INVALID' })
    t.match(await rejection(enqueue('work', { to: 'a' }, { retries: -1 })), { code: 'FC_ERR_OPTION_INVALID' })
    t.equal(calls, 0)
    await enqueue('work', { to: 'a' })
    await until(() => calls === 1, 'it runs')
    await app.tasks.idle()
    t.same(refusals, [])
  })
}
