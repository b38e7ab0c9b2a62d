/**
 * Compares implementations of admission by all scenarios, and prints the mean [worst] of each family. Options:
 *   --admission a.ts,b.ts   modules that export Admission and Entry; ours if left out
 *   --family equal,light    families whose names begin so
 *   --only text             scenarios whose names contain this
 *   --every 5               every fifth scenario of each family; `test` for what `npm test` runs
 *   --seeds 3               so many seeds; the first is --seed (1 if left out)
 *   --misses                name the scenarios that miss a bar, and the bars
 */
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { families } from './scenarios/index.ts'
import { least, mean, meets, misses, most, runOf, type Bar, type Family, type Figures } from './scenarios/scenario.ts'
import type { AdmissionModule } from './simulation.ts'

const { values } = parseArgs({
  options: {
    admission: { type: 'string', default: `${import.meta.dirname}/../../../plugins/core/line/admission.ts` },
    family: { type: 'string' },
    only: { type: 'string', default: '' },
    every: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '1' },
    seed: { type: 'string', default: '1' },
    misses: { type: 'boolean', default: false }
  }
})
const wanted = values.family?.split(',')
const seeds = Array.from({ length: Number(values.seeds) }, (_, index) => Number(values.seed) + index)
const scenariosOf = ({ scenarios, every }: Family): Family['scenarios'] => {
  const step = values.every === 'test' ? every : Number(values.every)
  return scenarios.filter(({ name }, index) => index % step === 0 && name.includes(values.only))
}

/** The worst of a figure: the lowest, unless its bar is from above. Figures without a bar are told by their name. */
const isFromAbove = (what: string, bar?: Bar): boolean =>
  bar?.atMost !== undefined || (bar === undefined && ['inVain', 'lost', 'refused', 'longest'].includes(what))

type Held = Pick<Row, 'held' | 'count'>
const heldOf = (rows: readonly Held[]): string => rows.map(({ held, count }) => `${held} / ${count}`).join(' | ')
const since = (time: number): string => `(${((performance.now() - time) / 1_000).toFixed(1)} s)`

interface Row {
  held: number
  count: number
  cells: Map<string, string>
  missed: string[]
}

function examine (family: Family, admission: AdmissionModule): Row {
  const rows: Figures[] = []
  const missed: string[] = []
  for (const seed of seeds) {
    const run = runOf(seed, admission)
    for (const scenario of scenariosOf(family)) {
      const figures = scenario.figures(run)
      rows.push(figures)
      const bars = misses(family, scenario, figures)
      if (bars.length > 0) missed.push(`  ${scenario.name}, seed ${seed}: ${bars.join(', ')}`)
    }
  }
  const cells = new Map<string, string>()
  for (const what of new Set(rows.flatMap((row) => Object.keys(row)))) {
    const figures = rows.map((row) => row[what]!).filter((value) => value !== undefined && !Number.isNaN(value))
    const bar = family.mean[what]
    const value = mean(figures)
    const worst = isFromAbove(what, bar) ? most(figures) : least(figures)
    const mark = bar === undefined ? '' : meets(value, bar) ? ' ok' : ` MISS ${bar.atLeast ?? bar.atMost}`
    cells.set(what, `${value.toFixed(3)} [${worst.toFixed(3)}]${mark}`)
  }
  return { held: rows.length - missed.length, count: rows.length, cells, missed }
}

const paths = values.admission.split(',')
const modules = await Promise.all(paths.map(async (path) => {
  return await import(pathToFileURL(resolve(path)).href) as AdmissionModule
}))
const totals = paths.map(() => ({ held: 0, count: 0 }))
const started = performance.now()
for (const [index, path] of paths.entries()) console.log(`${String.fromCharCode(65 + index)}: ${path}`)
for (const family of families) {
  if (wanted !== undefined && !wanted.some((name) => family.name.startsWith(name))) continue
  if (scenariosOf(family).length === 0) continue
  const began = performance.now()
  const rows = modules.map((module) => examine(family, module))
  console.log(`\n${family.name}: holds ${heldOf(rows)} ${since(began)}`)
  for (const what of rows[0]!.cells.keys()) {
    console.log(`  ${what.padEnd(10)} ${rows.map(({ cells }) => (cells.get(what) ?? '').padEnd(28)).join(' | ')}`)
  }
  rows.forEach(({ held, count, missed }, index) => {
    totals[index]!.held += held
    totals[index]!.count += count
    if (values.misses) for (const line of missed) console.log(`${String.fromCharCode(65 + index)} ${line}`)
  })
}
console.log(`\nholds in all: ${heldOf(totals)} ${since(started)}`)
