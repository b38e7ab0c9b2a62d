/**
 * What the preload costs when modules are loaded: CPU time of the rewriting, for modules of 2,000, 8,000 and 20,000 lines, and for a bundle of
 * Fastify that is repeated to 40,000 lines. The time must be linear: 8,000 lines in at most 4.5 times that of 2,000.
 *
 * Run it with `node --conditions=fastify-concurrency-source --import ./loader/typescript.js race/bench/load.ts`.
 */
import { build } from 'esbuild'
import { rewrite } from '../src/register/rewrite.ts'
import { loadParser } from '../src/source/parse.ts'

const ts = loadParser()!

/** Ten lines of an application, with names of its own. */
const lines = (n: number): string => `
let count${n} = 0
const orders${n} = new Map()
export async function place${n} (request, store) {
  const { id, items } = request.body
  if (orders${n}.has(id)) return orders${n}.get(id).total
  const total = await store.total(items.map((item) => item.price * item.count))
  orders${n}.set(id, { total, state: 'open', at: Date.now() })
  count${n}++; request.server.stats.orders += count${n}; request.user.last = id
  return total
}`

async function bundle (length: number): Promise<string> {
  const { outputFiles: [file] } = await build({ stdin: { contents: 'export { default } from "fastify"', resolveDir: import.meta.dirname }, bundle: true, platform: 'node', write: false, logLevel: 'error' })
  const text = file?.text ?? ''
  const times = Math.ceil(length / text.split('\n').length)
  return Array.from({ length: times }, (_, index) => `(() => { const part = ${index};\n${text}\n})()`).join('\n')
}

function cpuOf (source: string): number {
  const before = process.cpuUsage()
  rewrite(ts, '/module.js', source)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1e6
}

const moduleOf = (length: number): string => Array.from({ length: length / 11 }, (_, n) => lines(n)).join('')
cpuOf(moduleOf(2_000))
const sources = { '2,000 lines': moduleOf(2_000), '8,000 lines': moduleOf(8_000), '20,000 lines': moduleOf(20_000), 'a bundle': await bundle(40_000) }
const times = Object.entries(sources).map(([name, source]) => {
  const [time = 0] = [cpuOf(source), cpuOf(source), cpuOf(source)].sort((a, b) => a - b)
  console.log(`${name} (${source.split('\n').length} lines, ${Math.round(source.length / 1024)} KB): ${time.toFixed(2)} s of CPU`)
  return time
})
console.log(`8,000 lines in ${((times[1] ?? 0) / (times[0] ?? 1)).toFixed(1)} times the time of 2,000`)
