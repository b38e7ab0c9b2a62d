import t from 'tap'
import { getEventListeners } from 'node:events'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import * as channels from '../../plugins/workers/channels.ts'
import { rejection, startApp, until } from '../helper.ts'

t.test('an abort in a listener to the refusal of another job takes effect once the new job waits', async (t) => {
  const { workers } = await startApp(t, { maxQueue: 2 })
  const controller = new AbortController()
  const queued: object[] = []
  const onRefused = (): void => controller.abort()
  const onQueued = (message: unknown): void => { queued.push(message as object) }
  subscribe(channels.refused.name, onRefused)
  subscribe(channels.queued.name, onQueued)
  t.teardown(() => { unsubscribe(channels.refused.name, onRefused); unsubscribe(channels.queued.name, onQueued) })
  const running = workers.run('spin', { ms: 100 }, { key: 'a' })
  await until(() => workers.stats().running === 1, 'it runs')
  const waiting = [1, 2].map((n) => workers.run('echo', n, { key: 'a' }))
  const evicted = rejection(waiting[1] as Promise<unknown>)
  t.match(await rejection(workers.run('echo', 3, { key: 'b', signal: controller.signal })), { code: 'FC_ERR_JOB_ABORTED' })
  t.match(await evicted, { code: 'FC_ERR_WORKERS_OVERLOADED' })
  t.same(await Promise.all([running, waiting[0]]), ['done', 1])
  t.equal(queued.length, 4, 'a change of state is complete before the next one begins')
  t.equal(getEventListeners(controller.signal, 'abort').length, 0)
})

t.test('a job that is known to be long is not prefetched', async (t) => {
  const { workers } = await startApp(t, { maxThreads: 2 })
  for (let n = 0; n < 3; n++) await workers.run('spin', { ms: 50 })
  const attempts: number[] = []
  const listener = (message: unknown): void => { attempts.push((message as { attempt: number }).attempt) }
  subscribe(channels.dispatched.name, listener)
  t.teardown(() => unsubscribe(channels.dispatched.name, listener))
  await Promise.all([1, 2, 3].map(async () => workers.run('spin', { ms: 50 })))
  t.same(attempts, [1, 1, 1], 'none had to be taken back')
})

t.test('the outcome of each job is published', async (t) => {
  const seen: Record<string, object[]> = {}
  for (const { name } of Object.values(channels)) {
    const listener = (message: unknown): void => { (seen[name.split(':').at(-1) as string] ??= []).push(message as object) }
    subscribe(name, listener)
    t.teardown(() => unsubscribe(name, listener))
  }
  const { workers } = await startApp(t, { maxQueue: 1 })
  await workers.run('echo', 1)
  await rejection(workers.run('fail', 'type'))
  await rejection(workers.run('spin', { ms: 10_000 }, { timeout: 20 }))
  await workers.idle()
  const controller = new AbortController()
  const running = rejection(workers.run('spin', { ms: 10_000 }, { signal: controller.signal }))
  await until(() => workers.stats().running === 1, 'it runs')
  const waiting = workers.run('echo', 2)
  await rejection(workers.run('rest', { ms: 1 }))
  controller.abort()
  await Promise.all([running, waiting])
  await rejection(workers.run('die', 'exit'))

  t.match(seen['completed'], [{ kind: 'job', name: 'echo', id: '1', pool: 'workers', waitMs: Number, durationMs: Number }, { name: 'echo' }])
  t.match(seen['failed'], [{ kind: 'job', name: 'fail', error: { name: 'TypeError' } }])
  t.match(seen['expired'], [{ kind: 'job', name: 'spin', where: 'running', timeout: 20 }])
  t.match(seen['aborted'], [{ kind: 'job', name: 'spin', where: 'running', reason: { name: 'AbortError' } }])
  t.match(seen['refused'], [{ kind: 'job', name: 'rest', reason: 'count', waiting: 1, limit: 1, estimatedWait: Number, retryAfter: Number }])
  t.match(seen['crashed'], [{ kind: 'job', name: 'die', error: { code: 'FC_ERR_JOB_CRASHED' } }])
  t.equal(seen['queued']?.length, 6)
  t.equal(seen['dispatched']?.length, 6)
  t.match(seen['dispatched']?.[0], { kind: 'job', name: 'echo', attempt: 1, waitMs: Number })
})
