/**
 * Measures the cost of the metrics and of the dashboard: CPU time of the server's process for a request that runs a job and for one that runs none. The
 * logger is on, and one policy limits each request. `dashboard` has no page open, `connected` has one. `off again` is a second server without metrics:
 * its ratio is the noise of the run.
 *
 * One process of a kind is slower than another for as long as it lives, by some percent, so each start gives one ratio, and the intervals are those
 * of the starts. That noise is more than what metrics add to a request without a job, which is one message of the limiter's channel. So the message is
 * measured by itself, too, in one process.
 */
import { channel } from 'node:diagnostics_channel'
import { get } from 'node:http'
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { Clients, startServer } from './lib/cell.mjs'
import { alternate, median, medianInterval, pairedRatio, Report } from './lib/report.mjs'

const KINDS = /** @type {const} */ (['off', 'off again', 'metrics', 'dashboard', 'connected'])
const ROUTES = { job: '/job', request: '/bare' }
const BAR = 1.03
/** Requests before the measurement, of each route: the code is compiled, and compiled again with what was learned. */
const WARM_UP = 4_000

const report = new Report('metrics', { starts: '15', rounds: '4', requests: '1000' })
const starts = report.number('starts')
const rounds = report.number('rounds')
const requests = report.number('requests')
const clients = new Clients()

/** @type {Record<string, Record<string, { µs: number, ratio: number }[]>>} by route and kind, of each start */
const costs = Object.fromEntries(Object.keys(ROUTES).map((what) => [what, Object.fromEntries(KINDS.map((kind) => [kind, []]))]))
for (let start = 0; start < starts; start++) {
  const servers = new Map()
  for (const kind of KINDS) servers.set(kind, await startServer(`metrics ${kind}`, 1))
  const page = get({ port: servers.get('connected').port, path: '/dashboard/events' }, (response) => response.resume())
  for (const [what, path] of Object.entries(ROUTES)) {
    const measure = async (/** @type {string} */ kind, count = requests) => clients.cpu({ port: servers.get(kind).port, path, count, inFlight: 10 })
    for (const kind of KINDS) await measure(kind, WARM_UP)
    const results = await alternate(rounds, KINDS, async (kind) => measure(kind))
    const off = results.get('off') ?? []
    for (const [kind, values] of results) costs[what]?.[kind]?.push({ µs: median(values), ratio: pairedRatio(values, off) })
  }
  page.destroy()
  for (const { stop } of servers.values()) await stop()
}
clients.stop()

/** Returns the time of a message, in ns: its making, as the limiter makes it, and its count. */
async function messageCost () {
  const app = Fastify()
  await app.register(concurrency, { metrics: {} })
  await app.ready()
  const { server } = app
  const granted = channel('fastify-concurrency:limiter:granted')
  const policies = Array.from({ length: 8 }, (_, n) => `policy-${n}`)
  const publish = (/** @type {number} */ count) => {
    const startedAt = performance.now()
    for (let n = 0; n < count; n++) if (granted.hasSubscribers) granted.publish({ server, policy: policies[n & 7], key: `client-${n & 1_023}`, cost: 1 })
    return (performance.now() - startedAt) * 1e6 / count
  }
  publish(1_000_000)
  const times = Array.from({ length: 15 }, () => publish(200_000))
  const counted = app.metrics.snapshot().limits.reduce((sum, each) => sum + each.granted, 0)
  if (counted !== 4_000_000) throw new Error(`${counted} messages were counted`)
  await app.close()
  return median(times)
}

const message = await messageCost()
report.table('A message of the limiter, made and counted', [{ '': 'ns', median: message }])
for (const [what, byKind] of Object.entries(costs)) {
  const ratios = (/** @type {string} */ kind) => (byKind[kind] ?? []).map(({ ratio }) => ratio)
  report.table(`CPU of a ${what}, median of ${starts} starts`, KINDS.map((kind) => {
    const [low, high] = medianInterval(ratios(kind))
    return { kind, 'µs a request': median((byKind[kind] ?? []).map(({ µs }) => µs)), '÷ off': median(ratios(kind)), 'from (95 %)': low, to: high }
  }))
  for (const kind of KINDS.slice(2)) report.bar(`${what}: ${kind} ÷ off`, median(ratios(kind)), '<=', BAR)
}
report.end()
