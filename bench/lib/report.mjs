/** The parts that every benchmark shares: arguments, tables, bars, and the file with the results that `--save` writes. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { parseArgs } from 'node:util'

export const resultsUrl = new URL('../results/', import.meta.url)

/** @typedef {{ value: number, is: '>=' | '<=', than: number, unit: string, what: string, met: boolean }} Bar */

export class Report {
  /** @type {Record<string, Array<Record<string, unknown>>>} */
  #tables = {}
  /** @type {Bar[]} */
  #bars = []
  #name
  #startedAt = performance.now()

  /**
   * @param {string} name
   * @param {Record<string, string>} [defaults] the options that it takes beside `--save`, each with its default
   */
  constructor (name, defaults = {}) {
    this.#name = name
    const options = Object.fromEntries(Object.entries(defaults).map(([option, value]) => [option, { type: /** @type {const} */ ('string'), default: value }]))
    const { values } = parseArgs({ options: { ...options, save: { type: 'boolean', default: false } } })
    this.save = values.save === true
    this.args = /** @type {Record<string, string>} */ (/** @type {unknown} */ (values))
    console.log(`# ${name}: Node ${process.version}, ${availableParallelism()} CPUs (${cpus()[0]?.model.trim()})`)
  }

  /** @param {string} option */
  number (option) {
    const value = Number(this.args[option])
    if (!(value > 0)) throw new RangeError(`--${option} takes a positive number, not ${this.args[option]}`)
    return value
  }

  /**
   * @template {string} [T = string]
   * @param {string} option
   * @param {readonly T[]} [allowed]
   * @returns {T[]}
   */
  list (option, allowed) {
    const entries = /** @type {T[]} */ ((this.args[option] ?? '').split(',').filter((entry) => entry !== ''))
    const unknown = entries.find((entry) => allowed?.includes(entry) === false)
    if (unknown !== undefined) throw new RangeError(`--${option} takes ${allowed?.join(', ')}, not ${unknown}`)
    return entries
  }

  /**
   * @param {string} title
   * @param {Array<Record<string, unknown>>} rows with the same keys
   */
  table (title, rows) {
    this.#tables[title] = rows
    console.log(`\n${title}`)
    const columns = Object.keys(rows[0] ?? {})
    const cells = [columns, ...rows.map((row) => columns.map((column) => format(row[column])))]
    const widths = columns.map((_, index) => Math.max(...cells.map((line) => line[index]?.length ?? 0)))
    for (const line of cells) console.log('  ' + line.map((cell, index) => index === 0 ? cell.padEnd(widths[index] ?? 0) : cell.padStart(widths[index] ?? 0)).join('  '))
  }

  /**
   * @param {string} what
   * @param {number} value
   * @param {Bar['is']} is
   * @param {number} than
   * @param {string} [unit]
   */
  bar (what, value, is, than, unit = '') {
    const met = is === '>=' ? value >= than : value <= than
    this.#bars.push({ what, value, is, than, unit, met })
    const ratio = than === 0 ? '' : `, ${format(value / than)} of the bar`
    console.log(`${met ? 'ok    ' : 'MISSED'} ${what}: ${format(value)}${unit} (${is} ${format(than)}${unit}${ratio})`)
    return met
  }

  end () {
    console.log(`\n${Math.round((performance.now() - this.#startedAt) / 1_000)} s`)
    if (!this.save) return
    mkdirSync(resultsUrl, { recursive: true })
    const { save, ...args } = this.args
    const machine = { date: new Date().toISOString(), node: process.version, cpus: availableParallelism(), cpu: cpus()[0]?.model.trim() }
    // Node 20 is the one that most figures are from. Another one has files of its own.
    const major = process.versions.node.split('.')[0]
    writeFileSync(new URL(`${this.#name}${major === '20' ? '' : `-node${major}`}.json`, resultsUrl), JSON.stringify({ machine, args, bars: this.#bars, tables: this.#tables }, null, 2) + '\n')
  }
}

/**
 * @param {string} name
 * @returns {{ tables: Record<string, Array<Record<string, any>>> }}
 */
export function readResults (name) {
  return JSON.parse(readFileSync(new URL(`${name}.json`, resultsUrl), 'utf8'))
}

/**
 * @template {object} T
 * @param {T} object
 */
export const keys = (object) => /** @type {Array<keyof T & string>} */ (Object.keys(object))

/** @param {unknown} value */
function format (value) {
  if (typeof value !== 'number') return String(value ?? '')
  if (Number.isNaN(value)) return '-'
  if (Number.isInteger(value) || Math.abs(value) >= 1_000) return String(Math.round(value))
  return String(Number(value.toPrecision(3)))
}

/**
 * @param {readonly number[]} values
 * @param {number} share from 0 to 1
 */
export function percentile (values, share) {
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN
}

/** @param {readonly number[]} values */
export function median (values) {
  const sorted = Float64Array.from(values).sort()
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? /** @type {number} */ (sorted[middle]) : (/** @type {number} */ (sorted[middle - 1]) + /** @type {number} */ (sorted[middle])) / 2
}

/**
 * Measures all candidates once in each round. The order rotates, so that no candidate always comes first or after the same other one.
 *
 * @template T, [Result = number]
 * @param {number} rounds
 * @param {readonly T[]} candidates
 * @param {(candidate: T, round: number) => Promise<Result>} measure
 * @returns {Promise<Map<T, Result[]>>}
 */
export async function alternate (rounds, candidates, measure) {
  /** @type {Map<T, Result[]>} */
  const results = new Map(candidates.map((candidate) => [candidate, []]))
  for (let round = 0; round < rounds; round++) {
    for (let index = 0; index < candidates.length; index++) {
      const candidate = /** @type {T} */ (candidates[(index + round) % candidates.length])
      results.get(candidate)?.push(await measure(candidate, round))
    }
  }
  return results
}

/**
 * Returns the median of the ratios of two candidates within a round. A slow phase of the machine affects both.
 *
 * @param {readonly number[]} ours
 * @param {readonly number[]} theirs
 */
export function pairedRatio (ours, theirs) {
  return median(ours.map((value, round) => value / /** @type {number} */ (theirs[round])))
}

/**
 * Returns the bounds between which the median of the population lies with a confidence of 95 %. They are order statistics, which assume no distribution.
 *
 * @param {readonly number[]} values
 * @returns {[number, number]}
 */
export function medianInterval (values) {
  const sorted = Float64Array.from(values).sort()
  const reach = 0.98 * Math.sqrt(sorted.length)
  const at = (/** @type {number} */ index) => sorted[Math.min(sorted.length - 1, Math.max(0, index))] ?? NaN
  return [at(Math.floor(sorted.length / 2 - reach)), at(Math.ceil(sorted.length / 2 + reach) - 1)]
}
