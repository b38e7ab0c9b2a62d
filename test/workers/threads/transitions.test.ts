// Code of the application runs in the middle of what the pool does, and may ask anything of it.
import t from 'tap'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import * as channels from '../../../plugins/workers/channels.ts'
import { rejection, startApp } from '../../helper.ts'

t.test('a job that a subscriber aborts while it is being handed to a thread isn\'t handed over afterwards', async (t) => {
  const { workers } = await startApp(t)
  await workers.map('echo', Array.from({ length: 300 }, (_, n) => n)) // known to be short: several go in one message
  const controller = new AbortController()
  const events: string[] = []
  const listen = (name: 'refused' | 'dispatched' | 'aborted') => (message: unknown): void => {
    const { id } = message as { id: string }
    events.push(`${name} ${id}`)
    if (name === 'refused') controller.abort()
  }
  for (const name of ['refused', 'dispatched', 'aborted'] as const) {
    const listener = listen(name)
    subscribe(channels[name].name, listener)
    t.teardown(() => unsubscribe(channels[name].name, listener))
  }
  const aborted = rejection(workers.run('echo', 1, { signal: controller.signal }))
  const late = rejection(workers.run('echo', 2, { timeout: 20 }))
  const end = performance.now() + 50
  while (performance.now() < end); // the second one's deadline passes before a thread takes either
  t.match(await aborted, { code: 'FC_ERR_JOB_ABORTED' })
  t.match(await late, { code: 'FC_ERR_WORKERS_OVERLOADED', reason: 'deadline' })
  const order = events.map((event) => event.split(' ')[0])
  t.same(order, ['refused', 'dispatched', 'aborted'], events.join())
})

t.test('whatever subscribers abort and run, every job settles and the pool serves', async (t) => {
  const { workers } = await startApp(t, { maxThreads: 2, maxQueue: 50, maxWait: 20, targetWait: 10 })
  const controllers: AbortController[] = []
  const runs: Array<Promise<unknown>> = []
  const run = (): void => {
    const controller = new AbortController()
    controllers.push(controller)
    const { signal } = controller
    const kind = controllers.length % 3
    const promise = kind === 0
      ? workers.run('spin', { ms: 0.2 }, { signal, timeout: 30, key: String(controllers.length % 7) })
      : kind === 1 ? workers.run('echo', 1, { signal }) : workers.run('single', { ms: 0.1 }, { signal, priority: 'high' })
    runs.push(promise.catch(() => {}))
  }
  let seen = 0
  const meddle = (): void => {
    seen++
    if (seen % 3 === 0) controllers[(seen * 7_919) % controllers.length]?.abort()
    if (seen % 5 === 0 && controllers.length < 4_000) run()
  }
  for (const name of ['queued', 'dispatched', 'completed', 'failed', 'refused', 'aborted', 'expired'] as const) {
    subscribe(channels[name].name, meddle)
    t.teardown(() => unsubscribe(channels[name].name, meddle))
  }
  for (let burst = 0; burst < 20; burst++) {
    for (let n = 0; n < 100; n++) run()
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  for (let settled = 0; settled < runs.length;) {
    settled = runs.length
    await Promise.all(runs)
  }
  await workers.idle()
  t.match(workers.stats(), { running: 0, waiting: 0 })
  t.equal(await workers.run('echo', 'served'), 'served')
})
