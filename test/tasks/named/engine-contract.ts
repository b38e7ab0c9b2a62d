/** What every engine promises. Each engine's test file calls it with a way to make an app on that engine. */
import type { Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { defineTasks, type TaskContext, type TasksOptions } from '../../../plugins/tasks/index.ts'
import { deferred, rejection, until } from '../../helper.ts'

export interface Seen {
  payload: unknown
  attempt: number
  id: string
  name: string
}

export interface EngineUnderTest {
  name: string
  /** An app with the tasks plugin on that engine, ready; closed by the test's teardown. */
  build: (t: Test, options: TasksOptions) => Promise<FastifyInstance>
}

export interface Handle {
  id: string
  status: string
  done: Promise<unknown>
  cancel (): void
}

export type Enqueue = (name: string, payload?: unknown, options?: object) => Promise<Handle>

export function engineContract (t: Test, { name, build }: EngineUnderTest): void {
  async function start (t: Test, handler: (payload: never, context: TaskContext) => unknown, options: TasksOptions = {}, definition: object = {}): Promise<{ app: FastifyInstance, enqueue: Enqueue }> {
    const tasks = defineTasks({ work: { handler, ...definition } })
    const app = await build(t, { tasks, ...options })
    return { app, enqueue: app.tasks.enqueue.bind(app.tasks) as unknown as Enqueue }
  }

  /** What the channels tell of the tasks of an app: `completed work:1`, say. */
  function published (t: Test, app: FastifyInstance): string[] {
    const events: string[] = []
    for (const what of ['submitted', 'started', 'completed', 'failed', 'retried', 'aborted']) {
      const listener = (message: unknown): void => {
        const { server, id } = message as { server: object, id: string }
        if (server === app.server) events.push(`${what} ${id}`)
      }
      subscribe(`fastify-concurrency:tasks:${what}`, listener)
      t.teardown(() => unsubscribe(`fastify-concurrency:tasks:${what}`, listener))
    }
    return events
  }

  const untilAborted = async (_payload: never, { signal }: TaskContext): Promise<never> => new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error))
  })

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

  t.test(`${name}: a payload and a result may be undefined, false, 0 or an empty text`, async (t) => {
    const { enqueue } = await start(t, (payload: unknown) => payload)
    for (const payload of [undefined, false, 0, '', [], {}]) t.same(await (await enqueue('work', payload)).done, payload)
  })

  t.test(`${name}: tasks without an id never collide; a second task with an id is refused while the first waits or runs`, async (t) => {
    const go = deferred()
    const { enqueue } = await start(t, (n: number) => go.promise.then(() => n))
    const [a, b] = [await enqueue('work'), await enqueue('work')]
    t.not(a.id, b.id)
    const first = await enqueue('work', 1, { id: 'x' })
    t.match(await rejection(enqueue('work', 2, { id: 'x' })), { code: 'FC_ERR_TASK_DUPLICATE', statusCode: 409 })
    const joined = await enqueue('work', 3, { id: 'x', duplicate: 'join' })
    t.equal(joined.id, 'work:x')
    const outcomes = Promise.all([first.done, joined.done])
    go.resolve()
    t.same(await outcomes, [1, 1], 'the one that joined has the outcome of the first')
  })

  t.test(`${name}: an id that UTF-8 can't hold is refused`, async (t) => {
    const { enqueue } = await start(t, () => {})
    for (const id of ['\ud800', 'a\udc00b']) t.match(await rejection(enqueue('work', undefined, { id })), { code: 'FC_ERR_OPTION_INVALID', message: /surrogates/ })
    t.equal((await enqueue('work', undefined, { id: '\u{1f600}' })).id, 'work:\u{1f600}')
  })

  t.test(`${name}: an id is free when its task has ended, whether it completed or failed`, async (t) => {
    const { enqueue } = await start(t, (n: number) => { if (n < 0) throw new Error('negative'); return n })
    t.equal(await (await enqueue('work', 1, { id: 'x' })).done, 1)
    t.match(await rejection((await enqueue('work', -1, { id: 'x' })).done), { message: 'negative' })
    t.equal(await (await enqueue('work', 2, { id: 'x' })).done, 2)
  })

  t.test(`${name}: a failed task is tried again with backoff, by the options of its definition or of the call`, async (t) => {
    const attempts: number[] = []
    const { enqueue } = await start(t, async (_payload: never, { attempt }) => {
      attempts.push(attempt)
      throw Object.assign(new RangeError(`attempt ${attempt}`), { code: 'E_WORK' })
    }, {}, { retries: 1, backoff: { base: 1 } })
    t.match(await rejection((await enqueue('work')).done), { name: 'RangeError', message: 'attempt 2', code: 'E_WORK', stack: /engine-contract/ })
    t.match(await rejection((await enqueue('work', undefined, { retries: 0 })).done), { message: 'attempt 1' })
    t.same(attempts, [1, 2, 1])
  })

  t.test(`${name}: retryIf decides, and an error's retryAfter is waited for`, async (t) => {
    const attempts: number[] = []
    const { enqueue } = await start(t, async (kind: string, { attempt }) => {
      attempts.push(performance.now())
      if (attempt === 1) throw Object.assign(new Error(kind), { retryAfter: 0.05 })
    }, {}, { retries: 5, backoff: { base: 0 }, retryIf: (error: Error) => error.message !== 'hopeless' })
    t.match(await rejection((await enqueue('work', 'hopeless')).done), { message: 'hopeless' })
    t.equal(attempts.length, 1)
    await (await enqueue('work', 'busy')).done
    const [, first = 0, second = 0] = attempts
    t.ok(second - first >= 49, `${second - first} ms`)
  })

  t.test(`${name}: what throws something else than an error has failed`, async (t) => {
    const { enqueue } = await start(t, () => { throw null }) // eslint-disable-line no-throw-literal -- a handler may throw anything
    t.match(await rejection((await enqueue('work')).done), { code: 'FC_ERR_TASK_THREW' })
  })

  t.test(`${name}: the deadline aborts the signal, and its error is tried again like any other`, async (t) => {
    let calls = 0
    const { enqueue } = await start(t, untilAborted, {}, { timeout: 10 })
    t.match(await rejection((await enqueue('work')).done), { code: 'FC_ERR_TASK_TIMEOUT' })
    const again = await start(t, (payload: never, context) => ++calls === 1 ? untilAborted(payload, context) : 'second', {}, { timeout: 50, retries: 1, backoff: { base: 0 } })
    t.equal(await (await again.enqueue('work')).done, 'second')
  })

  t.test(`${name}: a function that ignores its signal has failed after the grace period`, async (t) => {
    const go = deferred()
    const { app, enqueue } = await start(t, () => go.promise, { grace: 10 }, { timeout: 10, retries: 3 })
    t.match(await rejection((await enqueue('work')).done), { code: 'FC_ERR_TASK_TIMEOUT' })
    t.equal(app.tasks.stats().leaked, 1)
    go.resolve()
    await until(() => app.tasks.stats().leaked === 0, 'the function has ended')
  })

  t.test(`${name}: a task starts after its delay`, async (t) => {
    const { enqueue } = await start(t, () => performance.now())
    const before = performance.now()
    t.ok(await (await enqueue('work', undefined, { delay: 30 })).done as number - before >= 29)
  })

  t.test(`${name}: no more than \`concurrency\` tasks of a name run at once`, async (t) => {
    let [running, most] = [0, 0]
    const { enqueue } = await start(t, async () => {
      most = Math.max(most, ++running)
      await new Promise((resolve) => setImmediate(resolve))
      running--
    }, { concurrency: 3 })
    const handles = await Promise.all(Array.from({ length: 30 }, () => enqueue('work')))
    await Promise.all(handles.map(({ done }) => done))
    t.equal(most, 3)
  })

  t.test(`${name}: cancel() takes a task that waits out of the queue`, async (t) => {
    const [go, began] = [deferred(), deferred()]
    const seen: number[] = []
    const { app, enqueue } = await start(t, async (n: number) => { seen.push(n); began.resolve(); await go.promise }, { concurrency: 1 })
    const first = await enqueue('work', 1)
    await began.promise
    const [byHandle, byId, later] = [await enqueue('work', 2), await enqueue('work', 3, { id: 'x' }), await enqueue('work', 4, { delay: 60_000 })]
    const outcomes = Promise.all([byHandle, byId, later].map(async ({ done }) => rejection(done)))
    byHandle.cancel()
    t.equal(await app.tasks.cancel('work:x'), true)
    t.equal(await app.tasks.cancel(later.id), true)
    for (const error of await outcomes) t.match(error, { code: 'FC_ERR_TASK_ABORTED' })
    t.equal(await app.tasks.cancel('work:x'), false, 'there is none any more')
    t.equal(await app.tasks.cancel('walk:x'), false)
    go.resolve()
    await first.done
    t.same(seen, [1])
    t.equal(await (async () => { const { id } = await enqueue('work', 5, { id: 'x' }); return id })(), 'work:x', 'its id is free')
  })

  t.test(`${name}: cancel() aborts the signal of a task that runs, which is not tried again`, async (t) => {
    const began = deferred()
    let calls = 0
    const { app, enqueue } = await start(t, async (payload: never, context) => { calls++; began.resolve(); await untilAborted(payload, context) }, {}, { retries: 3, backoff: { base: 0 } })
    const events = published(t, app)
    const { id, done } = await enqueue('work', undefined, { id: 'x' })
    const outcome = rejection(done)
    await began.promise
    t.equal(await app.tasks.cancel(id), true)
    t.match(await outcome, { code: 'FC_ERR_TASK_ABORTED' })
    t.equal(calls, 1)
    t.same(events.sort(), ['aborted work:x', 'started work:x', 'submitted work:x'])
  })

  t.test(`${name}: a task that is cancelled and succeeds after all has succeeded`, async (t) => {
    const [began, aborted] = [deferred(), deferred()]
    const { app, enqueue } = await start(t, async (_payload: never, { signal }) => {
      signal.addEventListener('abort', () => aborted.resolve())
      began.resolve()
      await aborted.promise
      return 'sent'
    })
    const { id, done } = await enqueue('work')
    await began.promise
    await app.tasks.cancel(id)
    t.equal(await done, 'sent')
    t.equal(await app.tasks.cancel(id), false, 'it has ended')
  })

  t.test(`${name}: the idempotency key is the same in each attempt of a task, and its own`, async (t) => {
    const keys: string[] = []
    const { enqueue } = await start(t, (_payload: never, { attempt, idempotencyKey }) => {
      keys.push(idempotencyKey)
      if (attempt === 1) throw new Error('once')
    }, {}, { retries: 1, backoff: { base: 0 } })
    await (await enqueue('work', 1, { id: 'x' })).done
    await (await enqueue('work', 1, { id: 'x' })).done
    t.equal(keys.length, 4)
    t.equal(keys[0], keys[1])
    t.equal(keys[2], keys[3])
    t.not(keys[0], keys[2], 'another task, though of the same id')
  })

  t.test(`${name}: what happens to a task is published, once`, async (t) => {
    const { app, enqueue } = await start(t, (n: number, { attempt }) => { if (n === 2 || attempt === 1) throw new Error('x') }, {}, { retries: 1, backoff: { base: 0 } })
    const events = published(t, app)
    await (await enqueue('work', 1, { id: 'a' })).done
    await rejection((await enqueue('work', 2, { id: 'b' })).done)
    // A stored task may have started before the process that enqueued it knows that it was accepted.
    t.same(events.filter((event) => event.startsWith('submitted')), ['submitted work:a', 'submitted work:b'])
    t.same(events.filter((event) => !event.startsWith('submitted')), [
      'started work:a', 'retried work:a', 'started work:a', 'completed work:a', 'started work:b', 'retried work:b', 'started work:b', 'failed work:b'
    ])
    t.match(app.tasks.stats(), { running: 0, completed: 1, failed: 1, retried: 2, aborted: 0 })
  })

  t.test(`${name}: what runs is finished before the app has closed`, async (t) => {
    const go = deferred()
    let began = 0
    const { app, enqueue } = await start(t, async () => { began++; await go.promise; return 'finished' }, { concurrency: 2 })
    const handles = [await enqueue('work'), await enqueue('work')]
    const outcomes = Promise.all(handles.map(({ done }) => done))
    await until(() => began === 2, 'both run')
    const closed = app.close()
    go.resolve()
    await closed
    t.same(await outcomes, ['finished', 'finished'])
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
    t.match(await rejection(enqueue('walk')), { code: 'FC_ERR_TASK_UNKNOWN', message: 'There is no task named "walk"', known: ['work'] })
    t.match(await rejection(enqueue('work', { to: () => {} })), { code: 'FC_ERR_TASK_PAYLOAD', message: 'The payload of task "work" can\'t be stored: payload.to is a function' })
    t.match(await rejection(enqueue('work', { to: 5 })), { code: 'FC_ERR_TASK_PAYLOAD', message: 'The payload of task "work" isn\'t valid: payload/to must be string' })
    t.match(await rejection(enqueue('work', {})), { message: /must have required property 'to'/ })
    t.match(await rejection(enqueue('work', { to: 'a', id: 1 }, { id: '' })), { code: 'FC_ERR_OPTION_INVALID' })
    t.match(await rejection(enqueue('work', { to: 'a' }, { retries: -1 })), { code: 'FC_ERR_OPTION_INVALID' })
    for (const id of [undefined, '', 1]) t.match(await rejection(app.tasks.cancel(id as string)), { code: 'FC_ERR_OPTION_INVALID' })
    t.equal(calls, 0)
    await enqueue('work', { to: 'a' })
    await until(() => calls === 1, 'it runs')
    await app.tasks.idle()
    t.same(refusals, [])
  })
}
