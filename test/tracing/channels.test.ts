// The tracing channels themselves, for tracers that don't speak OpenTelemetry.
import { AsyncLocalStorage } from 'node:async_hooks'
import { tracingChannel } from 'node:diagnostics_channel'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import tasks from '../../plugins/tasks/index.ts'
import * as workersChannels from '../../plugins/workers/channels.ts'
import * as tasksChannels from '../../plugins/tasks/channels.ts'
import { rejection, startApp, until } from '../helper.ts'

const EVENTS = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'] as const
const names = [workersChannels.job.name, tasksChannels.taskAttempt.name] as const

/** Listens to a tracing channel, and returns what came: the event and its message. */
function record (t: Test, name: string): Array<[event: string, message: Record<string, unknown>]> {
  const seen: Array<[string, Record<string, unknown>]> = []
  const channel = tracingChannel(name)
  for (const event of EVENTS) {
    const listener = (message: unknown): void => { seen.push([event, message as Record<string, unknown>]) }
    channel[event].subscribe(listener)
    t.teardown(() => channel[event].unsubscribe(listener))
  }
  return seen
}

async function startTasks (t: Test): Promise<ReturnType<typeof Fastify>> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(tasks)
  return app
}

t.test('without a subscriber nothing is published', async (t) => {
  const { workers } = await startApp(t)
  const app = await startTasks(t)
  for (const name of names) t.equal(tracingChannel(name).hasSubscribers, false)
  await workers.run('echo', 1)
  await app.tasks.submit('mail:1', async () => {}).done
})

t.test('the events of a job share one message, which says in the end how it went', async (t) => {
  const seen = record(t, names[0])
  const { workers } = await startApp(t)
  await workers.run('echo', 1)
  t.strictSame(seen.map(([event]) => event), ['start', 'end', 'asyncStart', 'asyncEnd'])
  t.equal(new Set(seen.map(([, message]) => message)).size, 1)
  t.match(seen[0]?.[1], { kind: 'job', name: 'echo', id: '1', pool: 'workers', outcome: 'completed', attempt: 1, waitMs: Number, error: undefined })
  seen.length = 0
  const error = await rejection(workers.run('fail', 'type'))
  t.strictSame(seen.map(([event]) => event), ['start', 'end', 'error', 'asyncStart', 'asyncEnd'])
  t.match(seen[0]?.[1], { outcome: 'failed' })
  t.equal(seen[0]?.[1]['error'], error)
})

t.test('a job that is refused at once has all events too', async (t) => {
  const seen = record(t, names[0])
  const { workers } = await startApp(t, { maxQueue: 0 })
  const [first, refused] = [workers.run('echo', 1), workers.run('echo', 2)]
  t.match(await rejection(refused), { code: 'FC_ERR_WORKERS_OVERLOADED' })
  await first
  const second = seen.filter(([, { id }]) => id === '2')
  t.strictSame(second.map(([event]) => event), ['start', 'end', 'error', 'asyncStart', 'asyncEnd'])
  t.match(second[0]?.[1], { outcome: 'refused', refusal: { reason: 'count' }, attempt: 0 })
})

t.test('the events of an attempt share one message; a store that is bound to `start` is there in the function', async (t) => {
  const store = new AsyncLocalStorage<string>()
  const channel = tracingChannel(names[1])
  channel.start.bindStore(store, (message) => `span of ${(message as { id: string }).id}`)
  t.teardown(() => channel.start.unbindStore(store))
  const seen = record(t, names[1])
  const app = await startTasks(t)
  t.equal(await app.tasks.submit('mail:1', async () => {
    await new Promise((resolve) => setImmediate(resolve))
    return store.getStore()
  }).done, 'span of mail:1')
  t.strictSame(seen.map(([event]) => event), ['start', 'end', 'asyncStart', 'asyncEnd'])
  t.equal(new Set(seen.map(([, message]) => message)).size, 1)
  t.match(seen[0]?.[1], { kind: 'task', name: 'mail', id: 'mail:1', attempt: 1, waitMs: Number, outcome: 'completed' })
  t.equal(store.getStore(), undefined)
  seen.length = 0
  await rejection(app.tasks.submit('mail:2', () => { throw new Error('at once') }).done)
  t.strictSame(seen.map(([event]) => event), ['start', 'end', 'error', 'asyncStart', 'asyncEnd'])
})

t.test('a task that is cancelled while it waits for its next attempt has ended the last one once', async (t) => {
  const seen = record(t, names[1])
  const app = await startTasks(t)
  const handle = app.tasks.submit('mail:1', () => { throw new Error('try again') }, { retries: 1, backoff: { base: 60_000, max: 60_000 } })
  await until(() => handle.status === 'retrying', 'it waits')
  handle.cancel()
  await rejection(handle.done)
  t.strictSame(seen.map(([event]) => event), ['start', 'end', 'error', 'asyncStart', 'asyncEnd'])
  t.match(seen[0]?.[1], { outcome: 'retried' })
})

t.test('a task that is cancelled before it runs has no attempt', async (t) => {
  const seen = record(t, names[1])
  const app = await startTasks(t)
  const handle = app.tasks.submit('mail:1', async () => {}, { delay: 60_000 })
  handle.cancel()
  await rejection(handle.done)
  t.strictSame(seen, [])
})
