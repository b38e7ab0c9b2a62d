/**
 * Measures the cost of the metrics and of the dashboard: CPU time of the server's process for a request that runs a job and for one that runs none. The
 * logger is on, and one policy limits each request. `dashboard` has no page open, `connected` has one.
 *
 * Two processes of the same code differ by several percent for as long as they live, which is more than what is measured. So one process is measured
 * with and without what listens: blocks of requests alternate (off, on, on, off), and each such round gives one ratio. `nothing` is a server
 * without metrics, where the switch switches nothing: its ratio is the noise of the method. What the dashboard does once a second falls into few of
 * the blocks, so the median leaves it out, and it is measured by itself. So are the messages that are made and counted for a request and for a job:
 * they are less than the method can tell from nothing.
 */
import { channel } from 'node:diagnostics_channel'
import { get } from 'node:http'
import { setTimeout } from 'node:timers/promises'
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { Clients, startServer, usedCpu } from './lib/cell.mjs'
import { median, medianInterval, Report } from './lib/report.mjs'

const KINDS = /** @type {const} */ (['nothing', 'metrics', 'dashboard', 'connected'])
const ROUTES = { job: '/job', request: '/bare' }
const BAR = 1.03

const report = new Report('metrics', { starts: '2', rounds: '30', requests: '4000', seconds: '5' })
const starts = report.number('starts')
const rounds = report.number('rounds')
const requests = report.number('requests')
const seconds = report.number('seconds')
const clients = new Clients()

/** @type {Record<string, Record<string, { µs: number, ratio: number }[]>>} by route and kind, of each round */
const costs = Object.fromEntries(Object.keys(ROUTES).map((what) => [what, Object.fromEntries(KINDS.map((kind) => [kind, []]))]))
/** What is done without requests, in µs of CPU a second: on, beyond off. */
const idle = Object.fromEntries(KINDS.map((kind) => [kind, /** @type {number[]} */ ([])]))

/** @param {number} port @param {'on' | 'off'} state */
async function turn (port, state) {
  await (await fetch(`http://127.0.0.1:${port}/${state}`)).text()
}

for (let start = 0; start < starts; start++) {
  for (const kind of KINDS) {
    const { port, stop } = await startServer(`metrics ${kind}`, 1)
    const page = kind === 'connected' ? get({ port, path: '/dashboard/events' }, (response) => response.resume()) : undefined
    for (const [what, path] of Object.entries(ROUTES)) {
      const measure = async (/** @type {'on' | 'off'} */ state, count = requests) => {
        await turn(port, state)
        return clients.cpu({ port, path, count, inFlight: 10 })
      }
      // The code is compiled, and compiled again with what was learned of both states.
      for (const state of /** @type {const} */ (['on', 'off', 'on', 'off'])) await measure(state, 4_000)
      for (let round = 0; round < rounds; round++) {
        const order = /** @type {const} */ (round % 2 === 0 ? ['off', 'on', 'on', 'off'] : ['on', 'off', 'off', 'on'])
        const sums = { on: 0, off: 0 }
        for (const state of order) sums[state] += await measure(state)
        costs[what]?.[kind]?.push({ µs: sums.on / 2, ratio: sums.on / sums.off })
      }
    }
    const sums = { on: 0, off: 0 }
    for (const state of /** @type {const} */ (['off', 'on', 'on', 'off'])) {
      await turn(port, state)
      const before = await usedCpu(port)
      await setTimeout(seconds * 1_000)
      sums[state] += await usedCpu(port) - before
    }
    idle[kind]?.push((sums.on - sums.off) / (2 * seconds))
    page?.destroy()
    await stop()
  }
}
clients.stop()

/** Returns the time of a message, in ns: its making, as the plugin that publishes it makes it, and its count. @param {string} name @param {(n: number) => object} fields */
async function messageCost (name, fields) {
  const app = Fastify()
  await app.register(concurrency, { metrics: {} })
  await app.ready()
  const { server } = app
  const messages = channel(`fastify-concurrency:${name}`)
  const publish = (/** @type {number} */ count) => {
    const before = process.cpuUsage()
    for (let n = 0; n < count; n++) if (messages.hasSubscribers) messages.publish(Object.assign({ server }, fields(n)))
    const { user, system } = process.cpuUsage(before)
    return (user + system) * 1_000 / count
  }
  publish(1_000_000)
  const times = Array.from({ length: 15 }, () => publish(200_000))
  const { limits, jobs } = app.metrics.snapshot()
  const counted = limits.reduce((sum, { granted }) => sum + granted, 0) + jobs.reduce((sum, { completed }) => sum + completed, 0)
  if (counted !== 4_000_000) throw new Error(`${counted} messages were counted`)
  await app.close()
  return median(times)
}

const names = Array.from({ length: 8 }, (_, n) => `name-${n}`)
report.table('CPU of a message, made and counted', [
  { message: 'limiter:granted, of a request', ns: await messageCost('limiter:granted', (n) => ({ policy: names[n & 7], key: `client-${n & 1_023}`, cost: 1 })) },
  { message: 'workers:completed, of a job', ns: await messageCost('workers:completed', (n) => ({ kind: 'job', name: names[n & 7], id: String(n), pool: 'workers', waitMs: n & 63, durationMs: n & 15 })) }
])
for (const [what, byKind] of Object.entries(costs)) {
  const ratios = (/** @type {string} */ kind) => (byKind[kind] ?? []).map(({ ratio }) => ratio)
  report.table(`CPU of a ${what}, on ÷ off, median of ${starts * rounds} rounds`, KINDS.map((kind) => {
    const [low, high] = medianInterval(ratios(kind))
    return { kind, 'µs a request': median((byKind[kind] ?? []).map(({ µs }) => µs)), '÷ off': median(ratios(kind)), 'from (95 %)': low, to: high }
  }))
  for (const kind of KINDS.slice(1)) report.bar(`${what}: ${kind} ÷ off`, medianInterval(ratios(kind))[1], '<=', BAR)
}
report.table('CPU a second without requests, on beyond off', KINDS.map((kind) => ({ kind, 'ms a second': median(idle[kind] ?? []) / 1_000 })))
report.end()
