import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { AsyncLocalStorage } from 'node:async_hooks'
import { execFile } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { promisify } from 'node:util'
import tasks, { type TaskContext, type TasksOptions } from '../../plugins/tasks/index.ts'
import { drainablesOf } from '../../plugins/shared/drainables.ts'
import { assertIdle } from '../../plugins/testing.ts'
import { root } from '../compiler.ts'
import { deferred, logLines, rejection, until, type LogLine } from '../helper.ts'

interface Built {
  app: FastifyInstance
  lines: LogLine[]
}

async function build (t: Test, options: TasksOptions = {}): Promise<Built> {
  const { lines, logger } = logLines()
  const app = Fastify({ logger }) as unknown as FastifyInstance
  t.teardown(async () => {
    await app.close()
    await assertIdle(app)
  })
  await app.register(tasks, options)
  return { app, lines }
}

t.test('a task runs in the background, and its handle has the status', async (t) => {
  const { app } = await build(t)
  const go = deferred<string>()
  let context!: TaskContext
  const handle = app.tasks.submit('welcome-email:42', (given) => { context = given; return go.promise })
  t.equal(handle.status, 'waiting', 'submit() returns before the function starts')
  await until(() => handle.status === 'running', 'it runs')
  t.match(context, { id: 'welcome-email:42', name: 'welcome-email', attempt: 1 })
  t.equal(context.signal.aborted, false)
  t.ok(Math.abs(context.deadline - Date.now() - 30_000) < 5_000, 'epoch ms')
  go.resolve('sent')
  t.equal(await handle.done, 'sent')
  t.equal(handle.status, 'completed')
  t.equal(await handle.done, 'sent', 'also when read later')
})

t.test('no more than `concurrency` run at once, in the order in which they came', async (t) => {
  const { app } = await build(t, { concurrency: 3, maxQueue: 100 })
  let running = 0
  let most = 0
  const order: number[] = []
  for (let i = 0; i < 50; i++) {
    app.tasks.submit(`t:${i}`, async () => {
      order.push(i)
      most = Math.max(most, ++running)
      await new Promise(setImmediate)
      running--
    })
  }
  t.match(app.tasks.stats(), { running: 0, waiting: 50 })
  await app.tasks.idle()
  t.equal(most, 3)
  t.same(order, Array.from({ length: 50 }, (_, i) => i))
  t.match(app.tasks.stats(), { running: 0, waiting: 0, completed: 50 })
})

t.test('a full queue refuses with its arithmetic and without a stack; in a handler that is a 503 with Retry-After', async (t) => {
  const { app, lines } = await build(t, { concurrency: 1, maxQueue: 1 })
  const go = deferred()
  app.tasks.submit('a', () => go.promise)
  app.tasks.submit('b', () => go.promise)
  await until(() => app.tasks.stats().running === 1, 'it runs')
  const error = await rejection((async () => app.tasks.submit('c', () => {}))())
  t.match(error, { code: 'FC_ERR_TASKS_FULL', statusCode: 503, running: 1, waiting: 1, limit: 2, retryAfter: 30 })
  t.notOk(error.stack?.includes('    at '))
  app.post('/webhooks', async () => { app.tasks.submit('d', () => {}) })
  app.post('/caught', async (_request, reply) => {
    try {
      app.tasks.submit('e', () => {})
    } catch {
      return reply.code(503).send({ mine: true })
    }
  })
  const answer = await app.inject({ method: 'POST', url: '/webhooks' })
  t.equal(answer.statusCode, 503)
  t.equal(answer.headers['retry-after'], '30')
  t.equal(answer.json().code, 'FC_ERR_TASKS_FULL')
  const caught = await app.inject({ method: 'POST', url: '/caught' })
  t.equal(caught.headers['retry-after'], '30', 'also where the handler answers a refusal that it has caught')
  t.same(lines.filter(({ level, err }) => level >= 50 && err !== undefined), [], 'refusals are no errors')
  go.resolve()
})

t.test('a reserved place is there when it is needed, and given back when it is not', async (t) => {
  const { app } = await build(t, { concurrency: 1, maxQueue: 0 })
  {
    using place = app.tasks.reserve()
    t.throws(() => app.tasks.submit('other', () => {}), { code: 'FC_ERR_TASKS_FULL' })
    t.throws(() => app.tasks.reserve(), { code: 'FC_ERR_TASKS_FULL' })
    t.equal(await place.submit('welcome:1', async () => 'sent').done, 'sent')
    t.throws(() => place.submit('welcome:2', () => {}), { code: 'FC_ERR_PLACE_USED' })
  }
  {
    using place = app.tasks.reserve()
    t.match(app.tasks.stats(), { reserved: 1 })
    t.throws(() => place.submit('', () => {}), { code: 'FC_ERR_OPTION_INVALID' })
  }
  t.match(app.tasks.stats(), { reserved: 0 })
  const place = app.tasks.reserve()
  place.release()
  place.release()
  t.throws(() => place.submit('late', () => {}), { code: 'FC_ERR_PLACE_USED' })
  t.match(app.tasks.stats(), { reserved: 0 })
})

t.test('assertIdle names a place that nobody uses or gives back', async (t) => {
  const { app } = await build(t)
  const place = app.tasks.reserve()
  await t.rejects(assertIdle(app, { within: 5 }), { message: /tasks holds 1: task reserved/ })
  place.release()
  await assertIdle(app, { within: 5 })
})

t.test('a place whose id turns out to be taken is not used up', async (t) => {
  const { app } = await build(t, { concurrency: 2, maxQueue: 0 })
  const go = deferred()
  const running = app.tasks.submit('a', () => go.promise)
  using place = app.tasks.reserve()
  t.throws(() => place.submit('a', () => {}), { code: 'FC_ERR_TASK_DUPLICATE' })
  t.equal(place.submit('a', () => {}, { duplicate: 'join' }), running)
  t.match(app.tasks.stats(), { reserved: 0 })
  go.resolve()
})

t.test('an id that waits or runs: reject or join; replace says what to do instead', async (t) => {
  const { app } = await build(t, { concurrency: 1, maxQueue: 5 })
  const go = deferred()
  const running = app.tasks.submit('report', () => go.promise)
  await until(() => running.status === 'running', 'it runs')
  t.throws(() => app.tasks.submit('report', () => {}), { code: 'FC_ERR_TASK_DUPLICATE', statusCode: 409 })
  t.equal(app.tasks.submit('report', () => {}, { duplicate: 'join' }), running)
  t.throws(() => app.tasks.submit('report', () => {}, { duplicate: 'replace' as never }), { code: 'FC_ERR_OPTION_INVALID', message: /'reject' or 'join' \(to replace a task, .* cancel\(\)/ })
  go.resolve()
  await running.done
  t.equal(await app.tasks.submit('report', () => 'again').done, 'again', 'an id that has ended is free')
})

t.test('cancel: out of the queue, or by its signal; a task that succeeds all the same has succeeded', async (t) => {
  const { app } = await build(t, { concurrency: 2 })
  const go = deferred()
  const polite = app.tasks.submit('polite', async ({ signal }) => {
    await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
  })
  const deaf = app.tasks.submit('deaf', () => go.promise)
  const waiting = app.tasks.submit('waiting', () => {})
  await until(() => app.tasks.stats().running === 2, 'both run')
  for (const { cancel } of [polite, deaf, waiting]) cancel()
  t.match(await rejection(waiting.done), { code: 'FC_ERR_TASK_ABORTED', id: 'waiting', message: /^A task was aborted: cancel\(\) was called$/ })
  t.match(await rejection(polite.done), { code: 'FC_ERR_TASK_ABORTED' })
  t.equal(polite.status, 'aborted')
  go.resolve()
  await deaf.done
  t.equal(deaf.status, 'completed')
  deaf.cancel()
  t.equal(deaf.status, 'completed')
})

t.test('cancelled in the grace period of its deadline, a task is not tried again', async (t) => {
  const { app } = await build(t, { grace: 60_000 })
  const [timedOut, go] = [deferred(), deferred()]
  let calls = 0
  const slow = app.tasks.submit('slow', async ({ signal }) => {
    calls++
    signal.addEventListener('abort', () => timedOut.resolve())
    await go.promise
    throw new Error('stopped')
  }, { timeout: 5, retries: 5, backoff: { base: 0 } })
  await timedOut.promise
  slow.cancel()
  go.resolve()
  t.match(await rejection(slow.done), { code: 'FC_ERR_TASK_ABORTED', cause: { code: 'FC_ERR_TASK_TIMEOUT', cause: { message: 'stopped' } } })
  t.equal(slow.status, 'aborted')
  t.equal(calls, 1)
})

t.test('a function that is cancelled again and again gets one grace period', async (t) => {
  const { app } = await build(t, { grace: 50 })
  const [begun, go] = [deferred(), deferred()]
  const deaf = app.tasks.submit('deaf', async () => {
    begun.resolve()
    await go.promise
  })
  await begun.promise
  const again = setInterval(() => deaf.cancel(), 10)
  t.match(await rejection(deaf.done), { code: 'FC_ERR_TASK_ABORTED' })
  clearInterval(again)
  t.equal(app.tasks.stats().leaked, 1)
  go.resolve()
  await until(() => app.tasks.stats().leaked === 0, 'it has settled after all')
})

t.test('a task that is cancelled while it is being settled settles once', async (t) => {
  const { app } = await build(t, { concurrency: 1, maxQueue: 1, grace: 1 })
  const handles = new Map<string, { cancel (): void }>()
  const cancel = (message: unknown): void => handles.get((message as { id: string }).id)?.cancel()
  const channels = ['completed', 'failed', 'aborted', 'retried'].map((name) => `fastify-concurrency:tasks:${name}`)
  for (const channel of channels) subscribe(channel, cancel)
  t.teardown(() => { for (const channel of channels) unsubscribe(channel, cancel) })
  const fail = async (): Promise<void> => { throw new Error('no') }
  const retries = { retries: 3, backoff: { base: 0 } }
  const submit = (id: string, fn: () => unknown, options = {}): Promise<unknown> => {
    const handle = app.tasks.submit(id, fn, options)
    handles.set(id, handle)
    return handle.done
  }
  t.equal(await submit('completed', () => 1), 1)
  t.match(await rejection(submit('failed', fail)), { message: 'no' })
  t.match(await rejection(submit('retried', fail, retries)), { code: 'FC_ERR_TASK_ABORTED', cause: { message: 'no' } })
  t.match(await rejection(submit('asked', fail, { ...retries, retryIf: () => { handles.get('asked')!.cancel(); return true } })), { code: 'FC_ERR_TASK_ABORTED', cause: { message: 'no' } })
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.match(app.tasks.stats(), { running: 0, waiting: 0, reserved: 0, leaked: 0, completed: 1, failed: 1, aborted: 2, retried: 1 })
  await assertIdle(app, { within: 5 })
})

t.test('a foreign promise that settles twice, or throws when asked, settles the task once', async (t) => {
  const { app } = await build(t, { concurrency: 1 })
  const foreign = (then: unknown): PromiseLike<unknown> => ({ then }) as PromiseLike<unknown>
  const twice = foreign((resolve: (value: number) => void, reject: (error: Error) => void) => { reject(new Error('first')); resolve(2) })
  t.match(await rejection(app.tasks.submit('twice', () => twice, { retries: 1, backoff: { base: 1 } }).done), { message: 'first' })
  const throws = foreign(() => { throw new Error('asked') })
  t.match(await rejection(app.tasks.submit('throws', () => throws).done), { message: 'asked' })
  const trap = Object.defineProperty({}, 'then', { get () { throw new Error('read') } })
  t.match(await rejection(app.tasks.submit('trap', () => trap).done), { message: 'read' })
  t.match(app.tasks.stats(), { running: 0, waiting: 0, failed: 3, retried: 1 })
  const long = await rejection(app.tasks.submit('long', () => Promise.reject('x'.repeat(1e6))).done)
  t.ok(long.message.length < 1_000)
})

t.test('functions that misbehave: throws at once, returns no promise, rejects with undefined, with an object', async (t) => {
  const { app, lines } = await build(t)
  t.match(await rejection(app.tasks.submit('throws', () => { throw new TypeError('oops') }).done), { name: 'TypeError', message: 'oops' })
  t.equal(await app.tasks.submit('plain', () => 7).done, 7)
  const undefinedError = await rejection(app.tasks.submit('undefined', () => Promise.reject()).done)
  t.match(undefinedError, { code: 'FC_ERR_TASK_THREW', id: 'undefined', message: 'A task threw undefined, which is not an Error' })
  t.match(await rejection(app.tasks.submit('object', () => Promise.reject({ a: 1 })).done), { code: 'FC_ERR_TASK_THREW', cause: { a: 1 } })
  const failures = lines.filter(({ msg }) => msg === 'task failed')
  t.same(failures.map(({ task, level }) => [task, level]), [['throws', 50], ['undefined', 50], ['object', 50]])
})

t.test('a done that nobody looks at never becomes an unhandled rejection', async (t) => {
  const { app } = await build(t)
  let unhandled = 0
  const count = (): void => { unhandled++ }
  process.on('unhandledRejection', count)
  t.teardown(() => process.removeListener('unhandledRejection', count))
  const failing = app.tasks.submit('ignored', async () => { throw new Error('nobody sees it') })
  const touched = app.tasks.submit('touched', async () => { throw new Error('nobody sees it') }).done
  await app.tasks.idle()
  await new Promise((resolve) => setTimeout(resolve, 10))
  t.equal(failing.status, 'failed')
  const touchedLater = failing.done
  await new Promise((resolve) => setTimeout(resolve, 10))
  t.ok(touched)
  t.ok(touchedLater)
  t.equal(unhandled, 0)
})

t.test('the deadline aborts the signal; a function that then settles frees its slot', async (t) => {
  const { app } = await build(t, { concurrency: 1 })
  const reasons: unknown[] = []
  const slow = app.tasks.submit('slow', async ({ signal }) => {
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    reasons.push(signal.reason)
    throw new Error('stopped')
  }, { timeout: 10 })
  const error = await rejection(slow.done)
  t.match(error, { code: 'FC_ERR_TASK_TIMEOUT', id: 'slow', message: 'A task passed its deadline of 10 ms', cause: { message: 'stopped' } })
  t.equal(reasons[0], error)
  t.equal(await app.tasks.submit('next', () => 'ran').done, 'ran')
})

t.test('tasks share one timer, and each is aborted at its own deadline', async (t) => {
  const { app } = await build(t)
  const aborted: string[] = []
  const submit = (id: string, timeout: number) => app.tasks.submit(id, ({ signal }) => new Promise((resolve) => {
    signal.addEventListener('abort', () => { aborted.push(id); resolve(id) })
  }), { timeout })
  const tasks = [submit('never', 60_000), submit('third', 60), submit('first', 20), submit('second', 40)]
  await new Promise((resolve) => setImmediate(resolve))
  const [scheduler] = [...drainablesOf(app)].filter(({ name }) => name === 'tasks')
  t.equal(scheduler?.timers, 1)
  await until(() => aborted.length === 3, 'three have passed their deadlines')
  t.strictSame(aborted.toSorted(), ['first', 'second', 'third'])
  tasks[0]?.cancel()
  await Promise.allSettled(tasks.map(({ done }) => done))
  t.equal(scheduler?.timers, 0)
})

const lonely = `
  import Fastify from 'fastify'
  import tasks from 'fastify-concurrency/tasks'
  const app = Fastify()
  await app.register(tasks, { grace: 50 })
  await app.tasks.submit('short', () => {}, { timeout: 200 }).done
  app.tasks.submit('stuck', () => new Promise(() => {}), { timeout: 300 }).done.catch(async ({ code }) => {
    await app.tasks.submit('patient', () => {}, { timeout: 600_000 }).done
    console.log(code)
  })`

t.test('a process goes on while a task runs, until its deadline, and ends when none does', async (t) => {
  const argv = ['--conditions=fastify-concurrency-source', '--import', './loader/typescript.js', '--input-type=module', '--eval', lonely]
  const { stdout } = await promisify(execFile)(process.execPath, argv, { cwd: root, timeout: 60_000 })
  t.equal(stdout, 'FC_ERR_TASK_TIMEOUT\n')
})

t.test('a task that never settles is named, and its slot goes to others', async (t) => {
  const { app, lines } = await build(t, { concurrency: 1, grace: 10 })
  const go = deferred()
  let calls = 0
  const zombie = app.tasks.submit('zombie', () => { calls++; return go.promise }, { timeout: 10, retries: 3 })
  t.match(await rejection(zombie.done), { code: 'FC_ERR_TASK_TIMEOUT' })
  t.equal(await app.tasks.submit('next', () => 'ran').done, 'ran')
  t.equal(calls, 1, 'not tried again: two attempts would run at once')
  const [line] = lines.filter(({ msg }) => msg.startsWith('the function of a task ignores its signal'))
  t.match(line, { task: 'zombie', attempt: 1 })
  t.match(app.tasks.stats(), { leaked: 1, running: 0 })
  await t.rejects(assertIdle(app, { within: 5 }), { message: /tasks holds 1: task zombie/ })
  go.resolve()
  await until(() => app.tasks.stats().leaked === 0, 'it has settled after all')
})

t.test('at most twice `concurrency` functions run, however many never settle', async (t) => {
  const { app } = await build(t, { concurrency: 2, maxQueue: 20, grace: 1 })
  const go = deferred()
  let started = 0
  for (let i = 0; i < 8; i++) app.tasks.submit(`z:${i}`, () => { started++; return go.promise }, { timeout: 5 })
  await until(() => app.tasks.stats().leaked === 4, 'four have leaked')
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.equal(started, 4)
  t.match(app.tasks.stats(), { leaked: 4, waiting: 4 })
  go.resolve()
  await app.tasks.idle()
  t.equal(started, 8)
  await until(() => app.tasks.stats().leaked === 0, 'all have settled')
})

t.test('retries: until it succeeds, holding no slot meanwhile, each attempt with a fresh deadline', async (t) => {
  const { app, lines } = await build(t, { concurrency: 1 })
  const attempts: number[] = []
  const between = deferred()
  const flaky = app.tasks.submit('flaky', async ({ attempt }) => {
    attempts.push(attempt)
    if (attempt < 3) throw new Error(`no ${attempt}`)
    return 'yes'
  }, { retries: 5, backoff: { base: 20 } })
  app.tasks.submit('other', () => { between.resolve() })
  await between.promise
  t.not(flaky.status, 'completed')
  t.equal(await flaky.done, 'yes')
  t.same(attempts, [1, 2, 3])
  t.same(lines.filter(({ msg }) => msg.includes('tried again')).map(({ attempt, level }) => [attempt, level]), [[1, 40], [2, 40]])
})

t.test('retryIf decides, and one that throws says no; retries are bounded', async (t) => {
  const { app } = await build(t)
  let calls = 0
  const fail = async (): Promise<void> => { throw Object.assign(new Error(`call ${++calls}`), { code: 'E' }) }
  const backoff = { base: 0 }
  t.match(await rejection(app.tasks.submit('bounded', fail, { retries: 2, backoff }).done), { message: 'call 3' })
  calls = 0
  t.match(await rejection(app.tasks.submit('asked', fail, { retries: 9, backoff, retryIf: (_error, attempt) => attempt < 2 }).done), { message: 'call 2' })
  calls = 0
  t.match(await rejection(app.tasks.submit('throwing', fail, { retries: 9, backoff, retryIf: () => { throw new Error('in retryIf') } }).done), { message: 'call 1' })
})

t.test('a delay is waited for without a slot, and idle() waits for it', async (t) => {
  const { app } = await build(t, { concurrency: 1 })
  const before = performance.now()
  let after = 0
  const later = app.tasks.submit('later', () => { after = performance.now() }, { delay: 30 })
  t.equal(await app.tasks.submit('now', () => 'ran').done, 'ran')
  t.equal(later.status, 'waiting')
  await app.tasks.idle()
  t.ok(after - before >= 29)
})

t.test('a task keeps the id and the trace of its request, and isn\'t aborted when the client leaves', async (t) => {
  const { app, lines } = await build(t, { concurrency: 1 })
  const trace = new AsyncLocalStorage<string>()
  const seen: Array<string | undefined> = []
  app.addHook('onRequest', (request, _reply, done) => trace.run(`trace of ${request.id}`, done))
  app.get('/:n', async (request) => {
    app.tasks.submit(`t:${request.id}`, ({ log }) => {
      seen.push(trace.getStore())
      log.info('in the task')
    })
    return { id: request.id }
  })
  const ids = await Promise.all([1, 2, 3].map(async (n) => (await app.inject(`/${n}`)).json<{ id: string }>().id))
  await app.tasks.idle()
  t.same(seen, ids.map((id) => `trace of ${id}`))
  t.same(lines.filter(({ msg }) => msg === 'in the task').map(({ reqId, task }) => [reqId, task]), ids.map((id) => [id, `t:${id}`]))
})

t.test('without lifecycle, closing drains: within closeTimeout, then gives up by name', async (t) => {
  const { app } = await build(t)
  const go = deferred()
  const slow = app.tasks.submit('slow', () => go.promise)
  const closed = app.close()
  go.resolve()
  await closed
  t.equal(slow.status, 'completed')
  t.throws(() => app.tasks.submit('late', () => {}), { code: 'FC_ERR_CLOSING', statusCode: 503 })

  const other = await build(t, { closeTimeout: 10, grace: 10 })
  const deaf = deferred()
  const stuck = other.app.tasks.submit('stuck', () => deaf.promise)
  await until(() => stuck.status === 'running', 'it runs')
  await other.app.close()
  t.match(await rejection(stuck.done), { code: 'FC_ERR_TASK_ABORTED', id: 'stuck', message: 'A task was aborted: the shutdown gave it up' })
  t.match(other.lines.find(({ msg }) => msg.startsWith('closing gave up 1 tasks')), { unfinished: [{ kind: 'task', id: 'stuck' }] })
  deaf.resolve()
})

for (const [what, run] of [
  ['an empty id', (app: FastifyInstance) => app.tasks.submit('', () => {})],
  ['an id of 10 MB', (app: FastifyInstance) => app.tasks.submit('x'.repeat(10 * 2 ** 20), () => {})],
  ['an id that is no string', (app: FastifyInstance) => app.tasks.submit(7 as never, () => {})],
  ['no function', (app: FastifyInstance) => app.tasks.submit('a', 'b' as never)],
  ['a negative timeout', (app: FastifyInstance) => app.tasks.submit('a', () => {}, { timeout: -1 })],
  ['a timeout of NaN', (app: FastifyInstance) => app.tasks.submit('a', () => {}, { timeout: NaN })],
  ['a fraction of a retry', (app: FastifyInstance) => app.tasks.submit('a', () => {}, { retries: 0.5 })],
  ['a negative backoff', (app: FastifyInstance) => app.tasks.submit('a', () => {}, { backoff: { base: -1 } })],
  ['an infinite delay', (app: FastifyInstance) => app.tasks.submit('a', () => {}, { delay: Infinity })],
  ['an unknown policy', (app: FastifyInstance) => app.tasks.submit('a', () => {}, { duplicate: 'merge' as never })],
  ['a misspelt option', (app: FastifyInstance) => app.tasks.submit('a', () => {}, { retry: 3 } as never)],
  ['a group limit of 0', (app: FastifyInstance) => app.tasks.group({ limit: 0 })],
  ['a group signal that is none', (app: FastifyInstance) => app.tasks.group({ signal: {} as never })]
] as const) {
  t.test(`submit with ${what}`, async (t) => {
    const { app } = await build(t)
    const error = await rejection((async () => run(app))())
    t.equal(error['code'], 'FC_ERR_OPTION_INVALID')
    t.ok(error.message.length < 1_000)
    t.match(app.tasks.stats(), { running: 0, waiting: 0, reserved: 0 })
  })
}

for (const options of [
  { concurrency: 0 }, { concurrency: NaN }, { maxQueue: -1 }, { timeout: 0 }, { retries: -1 }, { backoff: { factor: 2 } },
  { retryIf: 'always' }, { grace: Infinity }, { closeTimeout: -1 }, { tasks: [] }, { engine: 'redis' }, { ambient: 'yes' }, { queue: 5 }
]) {
  t.test(`invalid: ${JSON.stringify(options)}`, async (t) => {
    const app = Fastify()
    t.equal((await rejection((async () => app.register(tasks, options as never))()))['code'], 'FC_ERR_OPTION_INVALID')
    await app.close()
  })
}
