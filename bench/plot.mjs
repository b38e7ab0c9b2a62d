/** Draws docs/design/overload.svg from the saved results of bench/overload.mjs. The chart follows the reader's colour scheme. */
import { writeFileSync } from 'node:fs'
import { readResults } from './lib/report.mjs'

const WIDTH = 960
const PANEL = { width: 260, height: 170, left: 60, top: 74, across: 300, down: 240 }
const OURS = 'ours'
/** The palette of Okabe and Ito, which colour-blind readers can tell apart. Our line is also thicker. */
const COLORS = ['#d55e00', '#e69f00', '#cc79a7', '#56b4e9', '#7f7f7f']
const OUR_COLOR = '#009e73'
/** The approximate width of a letter. */
const LETTER = 7

const MEASURES = [
  { column: 'goodput ÷ capacity', title: 'served in time, of capacity', top: 1.1, ticks: [0, 0.25, 0.5, 0.75, 1] },
  { column: 'p99 ms', title: 'p99 of the served, ms', top: 1_100, ticks: [0, 250, 500, 750, 1_000] }
]

/** @typedef {{ x: string, row: Record<string, any> }} Point */

/** @type {Map<string, Map<string, Point[]>>} by job, by server */
const jobs = new Map()
for (const [title, rows] of Object.entries(readResults('overload').tables)) {
  // The tables of the sudden overload have no load to draw along.
  const [, job = '', load = ''] = /^([^,]+), ([\d.]+x)$/.exec(title) ?? []
  if (load === '') continue
  for (const row of rows) {
    const servers = jobs.get(job) ?? new Map()
    jobs.set(job, servers)
    servers.set(row['server'], [...servers.get(row['server']) ?? [], { x: load, row }])
  }
}
const others = [...new Set([...jobs.values()].flatMap((servers) => [...servers.keys()]))].filter((name) => name !== OURS)

/** @param {string} text */
const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
/** @param {number} value */
const round = (value) => Math.round(value * 10) / 10
/** @param {string} name */
const color = (name) => name === OURS ? OUR_COLOR : COLORS[others.indexOf(name) % COLORS.length]

/**
 * @param {string} title
 * @param {Map<string, Point[]>} servers
 * @param {typeof MEASURES[number]} measure
 * @param {number} left
 * @param {number} top
 */
function panel (title, servers, { column, top: highest, ticks }, left, top) {
  const loads = [...new Set([...servers.values()].flatMap((points) => points.map(({ x }) => x)))]
  const x = (/** @type {number} */ index) => round(left + PANEL.width * (index + 0.5) / loads.length)
  const y = (/** @type {number} */ value) => round(top + PANEL.height * (1 - Math.min(value, highest) / highest))
  const grid = ticks.map((tick) => `<path class="grid" d="M${left} ${y(tick)}h${PANEL.width}"/><text class="tick" x="${left - 8}" y="${y(tick) + 4}" text-anchor="end">${tick}</text>`)
  const axis = loads.map((load, index) => `<text class="tick" x="${x(index)}" y="${top + PANEL.height + 18}" text-anchor="middle">${load}</text>`)
  const lines = [...servers].sort(([a], [b]) => Number(a === OURS) - Number(b === OURS)).map(([name, points]) => {
    // A server that served nobody has no latency.
    const drawn = points.filter(({ row }) => typeof row[column] === 'number')
      .map(({ x: load, row }) => ({ x: x(loads.indexOf(load)), y: y(row[column]), label: `${name}, ${load}: ${Number(row[column].toPrecision(3))}` }))
    const path = `<polyline points="${drawn.map((point) => `${point.x},${point.y}`).join(' ')}" stroke="${color(name)}"${name === OURS ? ' class="ours"' : ''}/>`
    return path + drawn.map((point) => `<circle cx="${point.x}" cy="${point.y}" r="${name === OURS ? 4.5 : 3}" fill="${color(name)}"><title>${escape(point.label)}</title></circle>`).join('')
  })
  return [`<text class="title" x="${left}" y="${top - 12}">${escape(title)}</text>`, ...grid, ...axis, ...lines].join('\n')
}

let legendEnd = PANEL.left
const legend = [OURS, ...others].map((name) => {
  const left = legendEnd
  legendEnd += 28 + name.length * LETTER + 24
  return `<path d="M${left} 20h22" stroke="${color(name)}" stroke-width="${name === OURS ? 4 : 2}"/><text x="${left + 28}" y="24"${name === OURS ? ' font-weight="bold"' : ''}>${escape(name)}</text>`
})
const panels = MEASURES.flatMap((measure, line) => [...jobs].map(([job, servers], index) =>
  panel(line === 0 ? `${job}: ${measure.title}` : measure.title, servers, measure, PANEL.left + index * PANEL.across, PANEL.top + line * PANEL.down)))
const height = PANEL.top + MEASURES.length * PANEL.down

writeFileSync(new URL('../docs/design/overload.svg', import.meta.url), `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="Goodput and latency under overload, by server">
<style>
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600 }
  .tick { font-size: 11px; fill: #59636e }
  .grid { stroke: #d1d9e0; stroke-width: 1 }
  polyline { fill: none; stroke-width: 2; stroke-linejoin: round }
  .ours { stroke-width: 4 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .tick { fill: #9198a1 }
    .grid { stroke: #3d444d }
  }
</style>
${[...legend, ...panels].join('\n')}
<text class="tick" x="${PANEL.left}" y="${height - 12}">Arrivals ÷ capacity, open loop, Poisson; clients give up after 1 s. Bimodal: 95 % 2 ms, 5 % 200 ms.</text>
</svg>
`)
