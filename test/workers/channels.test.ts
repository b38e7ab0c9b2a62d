import t from 'tap'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import * as channels from '../../plugins/workers/channels.ts'
import { rejection, startApp, until } from '../helper.ts'

t.test('what becomes of each job is published', async (t) => {
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

  t.match(seen['completed'], [{ pool: 'workers', job: 'echo', id: '1', waitMs: Number, runMs: Number }, { job: 'echo' }])
  t.match(seen['failed'], [{ job: 'fail', error: { name: 'TypeError' } }])
  t.match(seen['timed-out'], [{ job: 'spin', where: 'running', timeout: 20 }])
  t.match(seen['cancelled'], [{ job: 'spin', where: 'running', reason: { name: 'AbortError' } }])
  t.match(seen['rejected'], [{ job: 'rest', reason: 'count', waiting: 1, limit: 1, estimatedWait: Number, retryAfter: Number }])
  t.match(seen['crashed'], [{ job: 'die', error: { code: 'FC_ERR_JOB_CRASHED' } }])
  t.equal(seen['queued']?.length, 6)
  t.equal(seen['dispatched']?.length, 6)
  t.match(seen['dispatched']?.[0], { job: 'echo', attempt: 1, waitMs: Number })
})
