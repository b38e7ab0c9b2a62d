// From counts since the start to what a chart shows of a second, and a refusal's numbers in words.
import t from 'tap'
import { countsOf, type RunningJob } from '../../plugins/core/ledger/counts.ts'
import { sampleOf, quantilesOf, type Reading } from '../../plugins/dashboard/sample.ts'
import { progressOf, runningJobs } from '../../plugins/dashboard/running-jobs.ts'
import { duration, errorWords, jobRefused, limitRefused, phaseEntered } from '../../plugins/dashboard/words.ts'
import { bucketBounds, type JobMetrics, type MetricsSnapshot } from '../../plugins/metrics/index.ts'
import { Durations } from '../../plugins/core/ledger/durations.ts'
import { LockQueueFullError, TasksFullError } from '../../plugins/shared/errors.ts'

function durations (...values: number[]): ReturnType<Durations['snapshot']> {
  const recorded = new Durations()
  for (const value of values) recorded.record(value)
  return recorded.snapshot()
}

const empty: MetricsSnapshot = {
  phase: 'serving', requestsRefused: 0, eventLoop: { utilization: 0.12345, delayMean: 0, delayP99: 1.23456, delayMax: 2 }, pools: [], jobs: [], tasksRunning: 0, tasksWaiting: 0, tasks: [], queues: [], limits: [], storeFailures: 0, isStoreUp: true, locks: [], loop: undefined, bucketBounds
}
const job = (fields: Partial<JobMetrics>): JobMetrics => ({
  pool: 'workers', name: 'search', completed: 0, failed: 0, aborted: 0, expired: 0, crashed: 0, refused: { count: 0, wait: 0, deadline: 0, shed: 0, unavailable: 0, closing: 0 }, wait: durations(), run: durations(), ...fields
})
const reading = (at: number, metrics: Partial<MetricsSnapshot>): Reading => ({ at, metrics: { ...empty, ...metrics } })

t.test('counts become rates by the time that has passed, also for what appears for the first time', async (t) => {
  const pool = { pool: 'workers', maxThreads: 2, threads: 2 }
  const before = reading(0, { jobs: [job({ completed: 10 })], pools: [{ ...pool, running: 2, waiting: 3 }], limits: [{ policy: 'plan', granted: 5, refused: 1, bound: undefined }], requestsRefused: 4 })
  const after = reading(2_000, {
    jobs: [job({ completed: 30, refused: { count: 0, wait: 6, deadline: 0, shed: 0, unavailable: 0, closing: 0 } }), job({ name: 'new', completed: 8 }), job({ name: 'defined' })],
    pools: [{ ...pool, running: 2, waiting: 13 }],
    limits: [{ policy: 'plan', granted: 25, refused: 1, bound: undefined }],
    requestsRefused: 4
  })
  const sample = sampleOf(before, before, after, 1_700_000_000_000)
  t.match(sample, { at: 1_700_000_000_000, phase: 'serving', requestsRefused: 0, limits: [{ policy: 'plan', granted: 10, refused: 0 }], eventLoop: { utilization: 0.123, delayP99: 1.23 } })
  t.match(sample.jobs, [{ name: 'search', completed: 10, refused: { wait: 3 } }, { name: 'new', completed: 4 }])
  t.equal(sample.jobs.length, 2, 'a job that nobody has called is left out')
  t.equal(sample.pools[0]?.arrived, (20 + 6 + 8 + 10) / 2, 'what has ended, was refused, or now waits')
})

t.test('percentiles are those of the window, within an eighth', async (t) => {
  const old = durations(...Array.from({ length: 1_000 }, () => 5_000))
  const recorded = new Durations()
  for (let i = 0; i < 1_000; i++) recorded.record(5_000)
  for (let i = 1; i <= 1_000; i++) recorded.record(i / 10)
  const { p50, p99 } = quantilesOf(old, recorded.snapshot(), bucketBounds)
  t.ok(Math.abs((p50 ?? 0) - 50) < 50 / 8, `p50 ${p50}`)
  t.ok(Math.abs((p99 ?? 0) - 99) < 99 / 8, `p99 ${p99}`)
  t.strictSame(quantilesOf(old, old, bucketBounds), { p50: null, p99: null }, 'nothing was measured')
  t.equal(quantilesOf(undefined, durations(1e9), bucketBounds).p99, 30_000, 'longer than all bounds')
  t.equal(durations(10).buckets[bucketBounds.indexOf(10)], 1, 'a bucket includes its bound, as Prometheus has it')
  t.ok(bucketBounds.every((bound, index) => index === 0 || bound > (bucketBounds[index - 1] ?? 0)), 'the bounds grow')
})

t.test('a refusal of a job in words has the numbers that decided', async (t) => {
  const refusal = { waiting: 30, estimatedWait: 1_500, limit: 1_100, retryAfter: 2 }
  t.equal(jobRefused({ ...refusal, reason: 'wait' }), '30 jobs waited: 1.5 s of work was ahead, and while the service is overloaded no job may wait longer than 1.1 s')
  t.equal(jobRefused({ ...refusal, reason: 'shed' }), 'it had waited 1.5 s, longer than the 1.1 s that a job may wait while the service is overloaded')
  t.equal(jobRefused({ ...refusal, reason: 'count', waiting: 1, limit: 1 }), '1 job waited, and at most 1 may wait')
  t.equal(jobRefused({ ...refusal, reason: 'deadline' }), 'its deadline was 1.1 s away: too soon for a wait of 1.5 s and a run')
  t.equal(jobRefused({ ...refusal, reason: 'deadline', limit: -5 }), 'it had waited 1.5 s, until its deadline had passed')
})

t.test('a refusal of a limit, of tasks, and any error', async (t) => {
  const limit = { server: {}, policy: 'plan', key: 'k', retryAfter: 1, lockedOut: false, requestId: '1', method: 'GET', route: '/' }
  t.equal(limitRefused({ ...limit, cost: 1, tokens: 0.21, rate: 2, burst: 5 }), 'it needed 1 token and its bucket had 0.21 of 5; 2 tokens come back each second')
  t.equal(limitRefused({ ...limit, cost: 5, tokens: -3, rate: 0.1, burst: 5 }), 'it needed 5 tokens and its bucket had 0 of 5; a token comes back every 10.0 s')
  t.equal(limitRefused({ ...limit, cost: 1, tokens: undefined, rate: 1, burst: 1 }), 'it needed 1 token; 1 token comes back each second')
  t.equal(limitRefused({ ...limit, cost: 1, tokens: 0, rate: 1, burst: 1, lockedOut: true, retryAfter: 90 }), 'it was refused too often, and is locked out for 1.5 min more')
  t.equal(errorWords(new TasksFullError({ running: 4, waiting: 1_000, limit: 1_000, retryAfter: 3 })), '4 tasks ran and 1000 waited, and at most 1000 may be held')
  t.equal(errorWords(new TasksFullError({ running: 64, waiting: 500, limit: 1_064, ofKey: { waiting: 500, limit: 500 }, retryAfter: 3 })),
    '500 tasks of its key waited, and a key may hold no more waiting tasks than there are places free: 500')
  t.equal(errorWords(new LockQueueFullError('mutex', 'secret', 1_000)), 'Too many callers already wait for a mutex: at most 1000')
  t.equal(limitRefused({ ...limit, cost: 1, tokens: undefined, rate: 1, burst: 1, waiters: { waiting: 2, limit: 2 } }), '2 calls waited for it, and at most 2 may wait')
  t.equal(limitRefused({ ...limit, cost: 1, tokens: undefined, rate: 1, burst: 1, late: { wait: 4_000, timeout: 1_500 } }), 'its tokens would have come after 4.0 s, and it waits 1.5 s at most')
  const away = Object.assign(new AggregateError([new Error('connect ECONNREFUSED ::1:1'), new Error('connect ECONNREFUSED 127.0.0.1:1')], ''), { code: 'ECONNREFUSED' })
  t.equal(errorWords(away), 'connect ECONNREFUSED ::1:1; connect ECONNREFUSED 127.0.0.1:1')
  t.equal(errorWords(Object.assign(new Error(''), { code: 'E_ODD' })), 'E_ODD')
  t.equal(errorWords(new RangeError('')), 'RangeError')
  t.equal(errorWords(new Error('x'.repeat(10_000))).length, 301)
  t.equal(errorWords('thrown'), 'it threw a value that is no Error')
  t.strictSame([0.04, 9.99, 99.6, 999.7, 59_990, 90_000].map(duration), ['0 ms', '10 ms', '100 ms', '1.0 s', '1 min', '1.5 min'])
  t.strictSame([600_000, 86_400_000, 7 * 86_400_000].map(duration), ['10 min', '24 h', '7 d'])
})

t.test('a phase of a shutdown in words; the first one says why', async (t) => {
  t.equal(phaseEntered({ server: {}, phase: 'requests', reason: 'SIGTERM' }, true), 'because of SIGTERM: new requests are refused, and those in flight are being finished')
  t.equal(phaseEntered({ server: {}, phase: 'tasks', reason: 'SIGTERM' }, false), 'background tasks are being finished')
})

t.test('a job may report anything as its progress', async (t) => {
  t.strictSame(progressOf(0.256), { done: 0.26, doing: undefined })
  t.strictSame(progressOf(7), { done: undefined, doing: '7' })
  t.strictSame(progressOf({ stage: 'resize', done: 1 }), { done: 1, doing: 'resize' })
  t.strictSame(progressOf({ message: 'x'.repeat(200), progress: NaN }), { done: undefined, doing: 'x'.repeat(80) })
  for (const value of [undefined, null, {}, [], true, Symbol('x'), 1n, () => {}]) t.strictSame(progressOf(value), { done: undefined, doing: undefined })
})

t.test('of the running jobs, the fifty that have run for longest are shown; an id that a client has chosen is shortened', async (t) => {
  const pools: Record<string, number[]> = { workers: Array.from({ length: 40 }, (_, n) => n), reports: Array.from({ length: 40 }, (_, n) => 100 + n) }
  const server = {}
  for (const [pool, times] of Object.entries(pools)) {
    const running = (): RunningJob[] => times.map((runMs) => ({ id: String(runMs), name: 'search', key: 'a', ageMs: runMs + 0.4, runMs: runMs + 0.4, aborted: false, progress: 0.5, requestId: 'x'.repeat(100) }))
    countsOf(server).pools.of(pool).views.add({ running, waiting: () => [], concurrencyOf: () => Infinity, gauges: () => ({ maxThreads: 1, threads: 1, running: 40, waiting: 0 }), cancel: () => false })
  }
  const shown = runningJobs(server, (key) => `client ${key}`)
  t.strictSame(shown.map(({ runMs }) => runMs), [...Array.from({ length: 40 }, (_, n) => 139 - n), ...Array.from({ length: 10 }, (_, n) => 39 - n)])
  t.match(shown[0], { pool: 'reports', id: '139', client: 'client a', runMs: 139, done: 0.5, requestId: /^x{40}$/ })
})

t.test('routes have their share of the event loop within the window, and the longest slice; one without requests is left out', async (t) => {
  const loop = (routes: Array<[route: string, count: number, ms: number, longestMs: number]>): MetricsSnapshot['loop'] => ({
    held: 0,
    waitLimit: 0,
    passed: 0,
    started: 0,
    left: 0,
    refused: { count: 0, wait: 0, shed: 0 },
    wait: durations(),
    routes: routes.map(([route, count, ms, longestMs]) => ({ route, count, ms, longestMs, stalls: 0 }))
  })
  const first = reading(0, { loop: loop([['GET /old', 900, 9_000, 40], ['GET /report', 10, 500, 80]]) })
  const after = reading(10_000, { loop: loop([['GET /old', 900, 9_000, 40], ['GET /report', 60, 6_500, 812], ['GET /new', 20, 1_000, 60]]) })
  t.strictSame(sampleOf(first, first, after, 0).routes, [
    { route: 'GET /report', share: 0.6, count: 5, longestMs: 812 },
    { route: 'GET /new', share: 0.1, count: 2, longestMs: 60 }
  ])
  t.strictSame(sampleOf(first, first, reading(20_000, {}), 0).routes, [], 'without the admission of the event loop')
})
