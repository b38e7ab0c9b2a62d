// Who causes the load, from counts whose memory has a bound.
import fc from 'fast-check'
import t from 'tap'
import { Tally, TALLY_MS } from '../../plugins/dashboard/status/tally.ts'
import { clientNames, Who } from '../../plugins/dashboard/status/who.ts'
import { countsOf, type RunningJob } from '../../plugins/core/ledger/counts.ts'
import { refused as limitRefused } from '../../plugins/limiter/channels.ts'
import { loopRefused } from '../../plugins/loop/channels.ts'
import { refused as jobRefused } from '../../plugins/workers/channels.ts'

t.test('a tally never counts a key for more than it did, and finds each that did much, however many others there are', async () => {
  const KEYS = 5
  // Heavy, light and passing keys: those above 20 never come twice.
  const keys = fc.array(fc.oneof(fc.constantFrom(0, 1), fc.nat(20), fc.nat(1e6)), { maxLength: 400 })
  fc.assert(fc.property(keys, fc.nat(3), (keys, ms) => {
    const tally = new Tally(KEYS)
    const truth = new Map<string, number>()
    for (const [index, key] of keys.entries()) {
      tally.add(String(key), index * ms)
      truth.set(String(key), (truth.get(String(key)) ?? 0) + 1)
    }
    const now = keys.length * ms
    const counts = new Map(tally.top(now))
    if (tally.total(now) !== keys.length) return false
    return [...truth].every(([key, count]) => (counts.get(key) ?? 0) <= count && (counts.get(key) ?? 0) >= count - keys.length / (KEYS + 1))
  }), { numRuns: 300 })
})

t.test('a tally finds who comes late, when its places are taken by others that came twice', async (t) => {
  const tally = new Tally(3)
  for (const key of ['a', 'a', 'b', 'b', 'c', 'c', ...Array<string>(20).fill('late')]) tally.add(key, 0)
  t.match(tally.top(0)[0], ['late', 18])
})

t.test('a tally forgets after a minute, and holds a bounded number of keys in a flood of new ones', async (t) => {
  const tally = new Tally(10)
  for (let n = 0; n < 100_000; n++) tally.add(`key-${n}`, n)
  t.ok(tally.top(100_000).length <= 60)
  tally.add('late', 100_000 + TALLY_MS)
  t.strictSame(tally.top(100_000 + TALLY_MS), [['late', 1]])
  t.equal(tally.total(100_000 + 3 * TALLY_MS), 0)
})

function refuse (server: object, name: string, key: string): void {
  jobRefused.publish({ server, kind: 'job', id: '1', pool: 'workers', name, requestId: '1', method: 'GET', route: '/', reason: 'count', waiting: 1, estimatedWait: 1, limit: 1, retryAfter: 1, key })
}

t.test('the keys with the most refusals and the most work are named, whatever refused them', async (t) => {
  const server = {}
  const origin = { server, requestId: '1', method: 'GET', route: '/' }
  const who = new Who(server, (key) => key)
  t.teardown(() => who.close())
  const running: RunningJob[] = ['busy', 'busy', 'busy', 'other'].map((key, n) => ({ id: String(n), name: 'search', key, ageMs: 1, runMs: 1, aborted: false, progress: undefined, requestId: undefined }))
  const waiting = [...Array<string>(9).fill('greedy'), 'other'].map((key) => ({ name: 'search', key }))
  countsOf(server).pools.of('workers').views.add({
    running: () => running, waiting: () => waiting, concurrencyOf: () => Infinity, gauges: () => ({ maxThreads: 4, threads: 4, running: 4, waiting: 10 }), cancel: () => false
  })
  who.tick()
  for (let n = 0; n < 30; n++) refuse(server, 'search', 'greedy')
  for (let n = 0; n < 10; n++) refuse(server, 'search', `passer-${n}`)
  loopRefused.publish({ ...origin, key: 'greedy', reason: 'wait', held: 1, estimatedWait: 1, limit: 1, retryAfter: 1 })
  limitRefused.publish({ ...origin, key: 'other', policy: 'plan', cost: 1, retryAfter: 1, lockedOut: false, tokens: 0, rate: 1, burst: 1 })
  const keys = who.keys()
  t.strictSame(keys[0], { client: 'greedy', work: 0, waiting: 9, refused: 31 })
  t.strictSame(keys.find(({ client }) => client === 'busy'), { client: 'busy', work: 0.75, waiting: 0, refused: 0 })
  t.strictSame(keys.find(({ client }) => client === 'other'), { client: 'other', work: 0.25, waiting: 1, refused: 1 })
  t.ok(keys.length <= 8)
  t.strictSame(who.waiting, [{ pool: 'workers', name: 'search', client: 'greedy', count: 9 }, { pool: 'workers', name: 'search', client: 'other', count: 1 }])
  t.strictSame(who.mostRefused('job search'), { client: 'greedy', share: 0.75 })
  t.strictSame(who.mostRefused('limit plan'), { client: 'other', share: 1 })
  t.equal(who.mostRefused('job unknown'), undefined)
})

t.test('nobody is named of many who are refused alike, nor for work without a key', async (t) => {
  const server = {}
  const who = new Who(server, (key) => key)
  t.teardown(() => who.close())
  for (let n = 0; n < 90; n++) refuse(server, 'search', `client-${n % 3}`)
  for (let n = 0; n < 90; n++) refuse(server, 'nightly', '')
  for (let n = 0; n < 100; n++) refuse(server, `job-${n}`, 'x')
  t.equal(who.mostRefused('job search'), undefined)
  t.equal(who.mostRefused('job nightly'), undefined)
})

t.test('a key is shown only if the option says so, and otherwise its digest', async (t) => {
  const [digests, others, keys] = [clientNames(false), clientNames(false), clientNames(true)]
  t.match(digests('10.0.0.1'), /^[0-9a-f]{8}$/)
  t.equal(digests('10.0.0.1'), digests('10.0.0.1'))
  t.not(digests('10.0.0.1'), others('10.0.0.1'), 'which is another one in another application')
  t.equal(keys('10.0.0.1'), '10.0.0.1')
  t.equal(keys('x'.repeat(1_000)).length, 100)
  t.strictSame([digests(''), keys('')], ['', ''])
})
