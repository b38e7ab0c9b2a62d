/**
 * Measures the two figures of the README's chart, and with `--save` draws it as docs/chart.svg: how long a health check waits while a third of
 * the CPUs' capacity is used by requests that compute for 50 ms, and how much is served in time when twice the capacity arrives and clients give up
 * after a second. Both differ so much between the servers that other programs on the machine don't change what the chart says.
 */
import { writeFileSync } from 'node:fs'
import { capacity, Clients, startServer, warmUp } from './lib/cell.mjs'
import { alternate, keys, median, Report } from './lib/report.mjs'
import { calibrate, work, workOf } from './lib/work.mjs'

const SERVERS = { inline: 'on the event loop', piscina: 'piscina', ours: 'fastify-concurrency' }
const COLORS = { inline: '#d55e00', piscina: '#e69f00', ours: '#009e73' }
const PATIENCE = 1_000
const PATH = work(50)

/** @typedef {keyof typeof SERVERS} Server */

const report = new Report('chart', { rounds: '3', seconds: '6', warm: '4' })
const rounds = report.number('rounds')
const seconds = report.number('seconds')
const warm = report.number('warm')
const iterationsPerMs = calibrate()
const clients = new Clients()

/** @param {Server} server @param {number} load */
async function measure (server, load) {
  const full = await capacity(clients, [PATH], { iterationsPerMs, seconds: 3 })
  const { port, stop } = await startServer(server, iterationsPerMs)
  const orders = { port, patience: PATIENCE, streams: [{ name: 'work', deck: [PATH], rate: full * load }] }
  await warmUp(clients, port, [PATH])
  await clients.run({ ...orders, seconds: warm })
  const { streams, ping } = await clients.run({ ...orders, seconds, seed: 2 })
  await stop()
  return { served: (streams['work']?.work ?? NaN) / (full * workOf(PATH)), ping: ping.p99 }
}

const calm = await alternate(rounds, keys(SERVERS), (server) => measure(server, 1 / 3))
const crowded = await alternate(rounds, keys(SERVERS), (server) => measure(server, 2))
const rows = keys(SERVERS).map((server) => ({
  server: SERVERS[server],
  '/ping p99 ms, a third of the capacity': median((calm.get(server) ?? []).map(({ ping }) => ping)),
  'served in time ÷ capacity, twice the capacity': median((crowded.get(server) ?? []).map(({ served }) => served))
}))
report.table(`Requests that compute for 50 ms: medians of ${rounds} rounds`, rows)
report.end()
clients.stop()

if (report.save) {
  const panels = [
    { title: 'p99 of a health check, at a third of the capacity', unit: (/** @type {number} */ value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`, values: rows.map((row) => row['/ping p99 ms, a third of the capacity']) },
    { title: 'Served in time, when twice the capacity arrives', unit: (/** @type {number} */ value) => `${Math.round(100 * value)} %`, values: rows.map((row) => row['served in time ÷ capacity, twice the capacity']) }
  ]
  const bars = panels.map(({ title, unit, values }, panel) => {
    const left = 20 + 470 * panel
    const highest = Math.max(...values)
    return [`<text class="title" x="${left}" y="28">${title}</text>`, ...keys(SERVERS).map((server, index) => {
      const value = values[index] ?? 0
      const [top, width] = [46 + 34 * index, Math.max(2, 210 * value / highest)]
      return `<text class="name" x="${left + 138}" y="${top + 15}" text-anchor="end">${SERVERS[server]}</text>` +
        `<rect x="${left + 148}" y="${top}" width="${width.toFixed(1)}" height="20" rx="3" fill="${COLORS[server]}"/>` +
        `<text class="name" x="${(left + 156 + width).toFixed(1)}" y="${top + 15}">${unit(value)}</text>`
    })].join('\n')
  })
  writeFileSync(new URL('../docs/chart.svg', import.meta.url), `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 940 158" role="img" aria-label="${
    panels.map(({ title, unit, values }) => `${title}: ${keys(SERVERS).map((server, index) => `${SERVERS[server]} ${unit(values[index] ?? 0)}`).join(', ')}`).join('. ')}">
<style>
  text { font: 14px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600 }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } }
</style>
${bars.join('\n')}
</svg>
`)
}
