// What a page gets that is opened later: five minutes of samples, percentiles of the last ten seconds, the last hundred incidents.
import { mock } from 'node:test'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { Feed } from '../../plugins/dashboard/feed.ts'
import { History } from '../../plugins/dashboard/history.ts'
import type { Incident } from '../../plugins/dashboard/incidents.ts'
import type { Status } from '../../plugins/dashboard/status/watch.ts'
import type { Sample } from '../../plugins/dashboard/sample.ts'
import { Streams } from '../../plugins/dashboard/streams.ts'
import { refused as limitRefused } from '../../plugins/limiter/channels.ts'
import { phaseEntered } from '../../plugins/lifecycle/channels.ts'
import { lockRefused } from '../../plugins/locks/channels.ts'
import { countsOf } from '../../plugins/core/ledger/counts.ts'
import { refused as refusedOf } from '../../plugins/core/ledger/ledger.ts'
import metrics from '../../plugins/metrics/index.ts'
import { ClosingError, TasksFullError, type RefusalReason } from '../../plugins/shared/errors.ts'
import { taskDuplicate, taskRefused } from '../../plugins/tasks/channels.ts'
import { refused as jobRefused, threadEnded } from '../../plugins/workers/channels.ts'

interface Kit {
  feed: Feed
  server: object
  hello (): { samples: Sample[], incidents: Incident[] }
  hour (): Sample[]
  /** A job of this name has completed, after 5 ms. */
  complete (name: string): void
  refuseJob (name: string, reason?: RefusalReason, route?: string): void
  /** What the first line says to a page that is opened now. */
  status (): Status
  refuseKey (key: string): void
}

async function build (t: Test): Promise<Kit> {
  const app = Fastify()
  await app.register(metrics)
  await app.ready()
  const feed = new Feed(app, new Streams(), app.metrics.reader(), 'pod:1/0')
  feed.start()
  t.teardown(async () => {
    feed.close()
    await app.close()
  })
  const { server } = app
  const origin = { requestId: '1', method: 'GET', route: '/' }
  const job = (name: string): object => ({ server, kind: 'job', id: '1', pool: 'workers', name, ...origin })
  return {
    feed,
    server,
    hello: () => JSON.parse(/\ndata: (.*)/.exec(feed.hello.toString())?.[1] ?? ''),
    hour: () => (JSON.parse(feed.hour) as { samples: Sample[] }).samples,
    complete (name) {
      const account = countsOf(server).pools.of('workers').jobs.of(name)
      account.completed++
      account.run.record(5)
    },
    status: () => JSON.parse(/event: status\ndata: (.*)/.exec(feed.hello.toString())?.[1] ?? '') as Status,
    refuseJob (name, reason = 'count', route = '/') {
      countsOf(server).pools.of('workers').jobs.of(name).count(refusedOf(Object.assign(new Error(), { reason })))
      jobRefused.publish({ ...job(name), route, key: '', reason, waiting: 1, estimatedWait: 1, limit: 1, retryAfter: 1 } as never)
    },
    refuseKey: (key) => limitRefused.publish({ server, policy: key, key, cost: 1, retryAfter: 1, lockedOut: false, tokens: 0, rate: 1, burst: 1, ...origin })
  }
}

t.test('the hour has one sample of each twelve seconds: rates over them, the highest gauges, and 300 at most', async (t) => {
  const { feed, server, hour, complete } = await build(t)
  let waiting = 0
  countsOf(server).pools.of('workers').views.add({ gauges: () => ({ threads: 1, maxThreads: 1, running: 1, waiting }), running: () => [], waiting: () => [] } as never)
  for (let n = 0; n < 11; n++) feed.tick()
  t.strictSame(hour(), [], 'twelve seconds have not passed')
  feed.tick()
  complete('early')
  waiting = 7
  feed.tick()
  waiting = 0
  for (let n = 0; n < 11; n++) feed.tick()
  const [before, after] = hour() as [Sample, Sample]
  t.equal(hour().length, 2)
  t.strictSame([before.pools[0]?.waiting, after.pools[0]?.waiting], [0, 7], 'a queue of one second is not lost')
  t.match(after.jobs, [{ name: 'early' }])
  t.ok(after.jobs[0]!.completed > 0)
  t.ok((after.jobs[0]?.run.p99 ?? 0) > 4, 'percentiles are those of the twelve seconds')
  for (let n = 0; n < 12; n++) feed.tick()
  t.equal(hour().at(-1)?.jobs[0]?.run.p99, null)
  for (let n = 0; n < 12 * 320; n++) feed.tick()
  t.equal(hour().length, 300)
})

t.test('what is kept has a bound in bytes: long samples are fewer', async (t) => {
  const history = new History()
  for (let n = 0; n < 250; n++) history.add(`"${'x'.repeat(9_998)}"`)
  t.equal((JSON.parse(history.json) as string[]).length, 200)
  for (let n = 0; n < 300; n++) history.add('1')
  t.equal((JSON.parse(history.json) as unknown[]).length, 300, 'and short ones are 300 again')
  history.add('x'.repeat(3_000_000))
  t.equal(history.json, '[]', 'one that is too long alone is not kept')
})

t.test('samples of five minutes are kept, and percentiles are those of the last ten', async (t) => {
  const { feed, hello, complete } = await build(t)
  complete('early')
  const p99 = (): number | null | undefined => hello().samples.at(-1)?.jobs[0]?.run.p99
  feed.tick()
  t.ok((p99() ?? 0) > 4, 'in ms')
  for (let n = 0; n < 9; n++) feed.tick()
  t.ok((p99() ?? 0) > 4, 'ten seconds later')
  feed.tick()
  t.equal(p99(), null, 'and no longer')
  for (let n = 0; n < 400; n++) feed.tick()
  t.equal(hello().samples.length, 300)
})

t.test('a page that is opened after a tick or an incident has it', async (t) => {
  const { feed, hello, refuseJob } = await build(t)
  t.match(hello(), { samples: [], incidents: [] })
  refuseJob('search')
  feed.tick()
  t.match(hello(), { samples: [{}], incidents: [{ subject: 'job search' }] })
})

t.test('each reason of a refusal is in words: also of a closed pool, of threads that can\'t be started, of tasks and locks; a duplicate is noted', async (t) => {
  const { feed, hello, refuseJob, server } = await build(t)
  refuseJob('search', 'closing')
  refuseJob('search', 'unavailable')
  const error = new ClosingError('The service')
  const full = new TasksFullError({ running: 1, waiting: 2, limit: 3, retryAfter: 4 })
  const counts = countsOf(server)
  for (const each of [error, full]) counts.tasks.of('mail').count(refusedOf(each))
  counts.locks.of('mutex').count(refusedOf(error))
  taskRefused.publish({ server, kind: 'task', name: 'mail', id: 'mail:1', reason: 'closing', error })
  taskRefused.publish({ server, kind: 'task', name: 'mail', id: 'mail:2', reason: 'full', error: full })
  taskDuplicate.publish({ server, kind: 'task', name: 'mail', id: 'mail:3' })
  lockRefused.publish({ server, kind: 'lock', name: 'mutex', id: 'secret', reason: 'closing', error })
  feed.tick()
  t.match(hello().incidents.map(({ kind, subject, reason }) => [kind, subject, reason]), [
    ['refused', 'job search', 'the service is shutting down, and takes no new jobs'],
    ['refused', 'job search', 'no worker thread can be started; the lines about threads say why'],
    ['refused', 'task mail', 'The service is closing and accepts no new work'],
    ['refused', 'task mail', '1 task ran and 2 waited, and at most 3 may be held'],
    ['noted', 'task mail', 'it was not accepted: a task with its id waits or runs already'],
    ['refused', 'mutex', 'The service is closing and accepts no new work']
  ])
  const { jobs, tasks, locks } = hello().samples.at(-1) as Sample
  t.match([jobs[0]?.refused, tasks.refused, locks.refused], [{ closing: Number, unavailable: Number, count: 0 }, { closing: Number, full: Number, store: 0 }, { closing: Number, full: 0 }])
  for (const rate of [jobs[0]?.refused.closing, jobs[0]?.refused.unavailable, tasks.refused.closing, tasks.refused.full, locks.refused.closing]) t.ok((rate ?? 0) > 0, 'the chart of refusals by reason has it')
})

t.test('a shutdown says its cause once, and threads that end with their pool are no failures', async (t) => {
  const { feed, hello, server } = await build(t)
  for (const phase of ['requests', 'tasks'] as const) phaseEntered.publish({ server, phase, reason: 'SIGTERM' })
  threadEnded.publish({ server, pool: 'workers', thread: 0, why: 'closed', error: new Error('closed') })
  threadEnded.publish({ server, pool: 'workers', thread: 1, why: 'slow', error: new Error('slow') })
  feed.tick()
  t.strictSame(hello().incidents.map(({ kind, subject, reason }) => `${kind} ${subject}: ${reason}`), [
    'noted shutdown: because of SIGTERM: new requests are refused, and those in flight are being finished',
    'noted shutdown: background tasks are being finished',
    'failed thread 1 of workers: it was ended, because it has not loaded the jobs in time; it is tried again'
  ])
})

t.test('a cause is one card that counts on, whichever bound is met and on whichever route; after a quiet minute its times begin anew', async (t) => {
  const { feed, hello, refuseJob } = await build(t)
  mock.timers.enable({ apis: ['Date'], now: 1_000_000 })
  t.teardown(() => mock.timers.reset())
  refuseJob('search', 'count', '/a')
  refuseJob('search', 'wait', '/b')
  feed.tick()
  mock.timers.tick(50_000)
  refuseJob('search', 'shed', '/b')
  refuseJob('search', 'unavailable', '/b')
  feed.tick()
  t.match(hello().incidents, [
    { id: 1, first: 1_000_000, since: 1_000_000, at: 1_050_000, count: 3, routes: [{ route: 'GET /b', count: 2 }, { route: 'GET /a', count: 1 }] },
    { id: 2, count: 1, reason: /no worker thread can be started/ }
  ])
  mock.timers.tick(60_001)
  refuseJob('search', 'count')
  feed.tick()
  t.match(hello().incidents, [{ id: 2 }, { id: 1, first: 1_000_000, since: 1_110_001, count: 4 }], 'the latest beginning is last')
})

t.test('a hundred cards are kept, the latest ones, and a flood of names doesn\'t push out what has just happened', async (t) => {
  const { feed, hello, refuseJob } = await build(t)
  mock.timers.enable({ apis: ['Date'], now: 1_000_000 })
  t.teardown(() => mock.timers.reset())
  refuseJob('old')
  feed.tick()
  mock.timers.tick(11_000)
  refuseJob('search')
  for (let n = 0; n < 500; n++) refuseJob(`job-${n}`)
  feed.tick()
  const subjects = hello().incidents.map(({ subject }) => subject)
  t.equal(subjects.length, 101)
  t.ok(subjects.includes('job search') && !subjects.includes('job old'))
  t.match(hello().incidents.find(({ subject }) => subject === 'others'), { count: 401 })
})

t.test('the first line says since when it says what it says, and the service serves again ten seconds after the last refusal', async (t) => {
  const { feed, server, status, refuseJob, complete } = await build(t)
  countsOf(server).pools.of('workers').views.add({
    running: () => [], waiting: () => [], concurrencyOf: () => Infinity, gauges: () => ({ maxThreads: 2, threads: 2, running: 2, waiting: 0 }), cancel: () => false
  })
  mock.timers.enable({ apis: ['Date'], now: 1_000_000 })
  t.teardown(() => mock.timers.reset())
  const tick = (): void => {
    mock.timers.tick(1_000)
    feed.tick()
  }
  tick()
  t.match(status(), { state: 'serving', problems: [] })
  complete('search')
  for (let n = 0; n < 5; n++) {
    refuseJob('search')
    tick()
  }
  t.match(status(), { state: 'overloaded', problems: [{ since: 1_002_000, what: /^Refusing .* `search` jobs$/ }] })
  for (let n = 0; n < 9; n++) tick()
  t.match(status(), { state: 'overloaded', problems: [{ since: 1_002_000 }] })
  tick()
  t.match(status(), { state: 'serving', problems: [] })
  refuseJob('search')
  tick()
  t.match(status(), { state: 'overloaded', problems: [{ since: 1_017_000 }] })
  feed.enter('tasks')
  t.match(status(), { state: 'overloaded' }, 'a phase is sent to open pages')
})

t.test('a key is a digest, which is another one in another process or application', async (t) => {
  const [one, other] = [await build(t), await build(t)]
  const digests = [one, other].map(({ feed, hello, refuseKey }) => {
    refuseKey('10.0.0.1')
    refuseKey('10.0.0.2')
    feed.tick()
    const clients = hello().incidents.map(({ client }) => client?.client)
    for (const client of clients) t.match(client, /^[0-9a-f]{8}$/)
    return clients
  })
  t.equal(new Set(digests.flat()).size, 4)
})

t.test('a feed takes a sample each second, and none once it is closed', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => mock.timers.reset())
  const { feed, hello } = await build(t)
  mock.timers.tick(3_000)
  t.equal(hello().samples.length, 3)
  feed.end()
  mock.timers.tick(3_000)
  t.equal(hello().samples.length, 3)
})

t.test('a feed that is closed listens no longer', async (t) => {
  await t.test('while it is open', async (t) => {
    const { feed } = await build(t)
    t.ok(jobRefused.hasSubscribers && limitRefused.hasSubscribers)
    feed.close()
    t.notOk(jobRefused.hasSubscribers, 'and the metrics read counts')
  })
  t.notOk(jobRefused.hasSubscribers || limitRefused.hasSubscribers)
})
