// Every promise that tasks and groups hand out may be dropped by its caller. It never ends the process, and an error of the application's
// own is never swallowed.
import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { setImmediate as turn } from 'node:timers/promises'
import tasks, { defineTasks, type Group, type TasksOptions } from '../../plugins/tasks/index.ts'
import { assertIdle } from '../../plugins/testing.ts'
import { deferred, logLines, rejection, type LogLine } from '../helper.ts'

interface Built {
  app: FastifyInstance
  lines: LogLine[]
  /** The errors in the log and in the channel of dropped groups. */
  logged: () => unknown[]
  published: unknown[]
  unhandled: unknown[]
}

async function build (t: Test, options: TasksOptions = {}): Promise<Built> {
  const { lines, logger } = logLines()
  const app = Fastify({ logger }) as unknown as FastifyInstance
  const unhandled: unknown[] = []
  const published: unknown[] = []
  const onUnhandled = (error: unknown): void => { unhandled.push(error) }
  const onDropped = (message: unknown): void => { published.push((message as { error: unknown }).error) }
  process.on('unhandledRejection', onUnhandled)
  subscribe('fastify-concurrency:tasks:group-dropped', onDropped)
  t.teardown(async () => {
    await app.close()
    await assertIdle(app)
    process.off('unhandledRejection', onUnhandled)
    unsubscribe('fastify-concurrency:tasks:group-dropped', onDropped)
  })
  await app.register(tasks, options)
  const logged = (): unknown[] => lines.filter(({ msg, level }) => level >= 40 && msg.includes('group')).map(({ err }) => (err as { message?: string } | undefined)?.message ?? err)
  return { app, lines, logged, published, unhandled }
}

/** Long enough for Node to find a rejection unhandled, and for reports that wait a turn. */
async function settle (): Promise<void> {
  for (let i = 0; i < 5; i++) await turn()
}

const untilAborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))

function cyclic (): Error {
  const error = new Error('boom')
  error.cause = error
  return error
}

/** Ways of failing: what is thrown, and how the log shows it. */
const thrown: Record<string, { value: () => unknown, shown: unknown }> = {
  'an error': { value: () => new Error('boom'), shown: 'boom' },
  'an error that is its own cause': { value: cyclic, shown: 'boom: boom: ...' },
  null: { value: () => null, shown: null },
  'a string': { value: () => 'boom', shown: 'boom' }
}

/** What is dropped. */
const drops: Record<string, (group: Group<unknown>, fail: () => never) => unknown> = {
  'map()': (group, fail) => group.map([1, 2, 3], fail),
  'map() of an async function': (group, fail) => group.map([1, 2, 3], async () => { await turn(); fail() }),
  'map() of a source that fails': (group, fail) => group.map((async function * () { yield 1; fail() })(), (item) => item),
  'race()': (group, fail) => group.race([fail, async ({ signal }) => untilAborted(signal)]),
  'go() and wait()': async (group, fail) => { await group.go(fail); void group.wait() },
  'map() and wait()': (group, fail) => { void group.map([1], fail); void group.wait() }
}

for (const [what, drop] of Object.entries(drops)) {
  for (const [how, { value, shown }] of Object.entries(thrown)) {
    t.test(`${what} that nobody awaits fails with ${how}: reported once, and the process lives`, async (t) => {
      const { app, logged, published, unhandled } = await build(t)
      app.get('/', async () => {
        void drop(app.tasks.group(), () => { throw value() })
        await turn()
        await turn()
        return 'answered'
      })
      t.equal((await app.inject('/')).statusCode, 200)
      await settle()
      t.strictSame(unhandled, [])
      t.strictSame(logged(), [shown])
      t.equal(published.length, 1)
    })
  }
}

t.test('an error that comes after the request has ended is reported too', async (t) => {
  const { app, logged, unhandled } = await build(t)
  const go = deferred()
  app.get('/', async () => {
    void app.tasks.group({ detached: true }).map([1], async () => { await go.promise; throw new Error('late') })
    return 'answered'
  })
  await app.inject('/')
  await settle()
  t.strictSame(logged(), [])
  go.resolve()
  await settle()
  t.strictSame(logged(), ['late'])
  t.strictSame(unhandled, [])
})

t.test('an error of go() comes out of wait() alone, as in Go', async (t) => {
  const { app, logged, unhandled } = await build(t)
  const group = app.tasks.group()
  await group.go(() => { throw new Error('comes out of wait()') })
  await settle()
  t.match(await rejection(group.wait()), { message: 'comes out of wait()' })
  await settle()
  t.strictSame([logged(), unhandled], [[], []])
})

t.test('map() and race() whose error wait() has thrown, or that were awaited, are no further errors', async (t) => {
  const { app, logged, published, unhandled } = await build(t)
  app.get('/', async () => {
    const group = app.tasks.group()
    const dropped = group.map([1], () => { throw new Error('thrown by wait()') })
    t.match(await rejection(group.wait()), { message: 'thrown by wait()' })
    await settle()
    t.match(await rejection(dropped), { message: 'thrown by wait()' }, 'awaited late, it is the same')
    await rejection(app.tasks.group().map([1], () => { throw new Error('awaited') }))
    await rejection(app.tasks.group().race([() => { throw new Error('awaited') }]))
    await Promise.allSettled([app.tasks.group().map([1], () => { throw new Error('awaited') })])
    await app.tasks.group().map([1], () => { throw new Error('caught') }).catch(() => {})
    return app.tasks.group().race(['answered'].map((text) => () => text))
  })
  t.equal((await app.inject('/')).body, 'answered')
  await settle()
  t.strictSame([logged(), published, unhandled], [[], [], []])
})

t.test('await using: an error that nobody awaited is reported once; one that was awaited, or an abort by the scope, is not', async (t) => {
  const { app, logged, unhandled } = await build(t)
  const scope = async (run: (group: Group<unknown>) => unknown): Promise<unknown> => {
    await using group = app.tasks.group()
    return await run(group)
  }
  await scope(async (group) => { void group.map([1], () => { throw new Error('dropped map') }); await turn() })
  await scope(async (group) => { void group.race([() => { throw new Error('dropped race') }]); await turn() })
  await scope(async (group) => { void group.go(() => { throw new Error('dropped go') }); void group.wait() })
  await settle()
  t.strictSame(logged().sort(), ['dropped go', 'dropped map', 'dropped race'])
  await scope(async (group) => { void group.map([1], async (_item, { signal }) => untilAborted(signal)) })
  await scope(async (group) => { void group.race([async ({ signal }) => untilAborted(signal)]) })
  await scope(async (group) => { await group.go(async ({ signal }) => untilAborted(signal)) })
  await rejection(scope(async (group) => group.map([1], () => { throw new Error('awaited') })))
  await rejection(scope(async (group) => { await group.go(() => { throw new Error('awaited') }); await group.wait() }))
  await settle()
  t.equal(logged().length, 3)
  t.strictSame(unhandled, [])
})

t.test('a client that leaves is no error: nothing is thrown at the process, nothing logged as one', async (t) => {
  const { app, lines, unhandled } = await build(t)
  const parent = new AbortController()
  const group = app.tasks.group({ signal: parent.signal })
  void group.map([1], async (_item, { signal }) => untilAborted(signal))
  void group.race([async ({ signal }) => untilAborted(signal)])
  void group.wait()
  const after = app.tasks.group({ signal: parent.signal })
  parent.abort(new Error('left'))
  void after.race([() => 1])
  void after.map([1], () => 1)
  void after.go(() => {})
  void after.wait()
  await settle()
  t.strictSame(unhandled, [])
  t.strictSame(lines.filter(({ err }) => (err as { message?: string } | undefined)?.message === 'left'), [])
})

t.test('calls after wait(), and with bad arguments, are refused by promises that may be dropped too', async (t) => {
  const { app, unhandled } = await build(t)
  const group = app.tasks.group()
  await group.wait()
  void group.map([1], () => 1)
  void group.race([() => 1])
  void app.tasks.group().map(7 as never, () => 1)
  void app.tasks.group().race('x' as never)
  await settle()
  t.strictSame(unhandled, [])
})

t.test('enqueue() that nobody awaits: what refuses the task is logged, a defect at error, load and a shutdown at debug', async (t) => {
  const { app, lines, unhandled } = await build(t, {
    concurrency: 1,
    maxQueue: 0,
    tasks: defineTasks({ mail: { handler: () => {}, schema: { type: 'string' } } })
  })
  const enqueue = app.tasks.enqueue as unknown as (name: unknown, payload?: unknown, options?: unknown) => Promise<unknown>
  const messages = (): string[] => lines.filter(({ msg }) => msg.includes('nobody awaits its promise'))
    .map(({ level, err }) => `${level} ${(err as { code: string }).code}`)
  const go = deferred()
  app.tasks.submit('block', () => go.promise)
  void enqueue('mail', 'full')
  void enqueue('mail', 7)
  void enqueue('mail', 'x', { id: '' })
  void enqueue('unknown')
  await rejection(enqueue('unknown'))
  await settle()
  t.strictSame(messages().sort(), ['20 FC_ERR_TASKS_FULL', '50 FC_ERR_OPTION_INVALID', '50 FC_ERR_TASK_PAYLOAD', '50 FC_ERR_TASK_UNKNOWN'])
  t.match(lines.filter(({ level }) => level === 40), [{ msg: 'requests were refused', code: 'FC_ERR_TASKS_FULL', task: 'mail', refused: 1 }], 'sampled')
  lines.length = 0
  const closed = app.close()
  go.resolve()
  await closed
  void enqueue('mail', 'late')
  await settle()
  t.strictSame(messages(), ['20 FC_ERR_CLOSING'])
  t.strictSame(unhandled, [])
})
