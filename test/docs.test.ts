// The tables of docs/ list the options, errors and channels that the code has, and no others.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import * as errors from '../plugins/shared/errors.ts'
import { lifecycleOptionNames } from '../plugins/lifecycle/options.ts'
import { limiterOptionNames } from '../plugins/limiter/options.ts'
import { dashboardOptionNames } from '../plugins/dashboard/options.ts'
import { operateOptionNames } from '../plugins/operate/options.ts'
import { metricsOptionNames } from '../plugins/metrics/options.ts'
import { instruments } from '../plugins/metrics/instruments.ts'
import { loopOptionNames } from '../plugins/loop/options.ts'
import { concurrencyOptionNames } from '../plugins/limiter/concurrency/policy.ts'
import { policyOptionNames } from '../plugins/limiter/policies/policy.ts'
import { acquireOptionNames, locksOptionNames } from '../plugins/locks/options.ts'
import { tasksOptionNames } from '../plugins/tasks/options.ts'
import { submitOptionNames } from '../plugins/tasks/task-options.ts'
import { tracingOptionNames } from '../plugins/tracing/options.ts'
import { runOptionNames, workersOptionNames } from '../plugins/workers/options.ts'
import { jobOptionNames } from '../plugins/workers/registry.ts'
import { root } from './compiler.ts'
import { readPages } from './docs/pages.ts'

const pages = readPages().filter(({ name }) => name !== 'race/README')

/** The rows of the table under a heading, which one page has; a list of cells each, without its head. */
function table (heading: string): string[][] {
  const isHeading = (line: string): boolean => line.replace(/^#+ /, '') === heading && line.startsWith('#')
  const [page, ...others] = pages.filter(({ text }) => text.split('\n').some(isHeading))
  if (page === undefined || others.length > 0) throw new Error(`The heading "${heading}" is not in exactly one page`)
  const lines = page.text.split('\n')
  const from = lines.findIndex(isHeading)
  const length = lines.slice(from + 1).findIndex((line) => line.startsWith('#'))
  const rows = lines.slice(from + 1, length === -1 ? undefined : from + 1 + length).filter((line) => line.startsWith('|'))
  return rows.slice(2).map((row) => row.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim()))
}

/** The texts in backticks. */
const codes = (text: string): string[] => [...text.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code)

/** The names in the first columns of the tables whose headings these are, each after the other with ` + ` between. */
const names = (headings: string): string[] => headings.split(' + ').flatMap(table).flatMap(([first = '']) => codes(first)).sort()

interface Coded { code: string, statusCode: number }
type ErrorClass = new (...args: unknown[]) => Coded

const coded = Object.values(errors)
  .filter((value) => typeof value === 'function' && value.prototype instanceof Error)
  // The third argument of LimitBusyError is a status, of the others an object.
  .map((Class) => new (Class as unknown as ErrorClass)('x', {}, Class === errors.LimitBusyError ? undefined : {}))

t.test('each error has a row, and each row an error', async (t) => {
  t.strictSame(names('Errors'), coded.map(({ code }) => code).sort())
})

t.test('each error has the status that its row says', async (t) => {
  for (const [code, status] of table('Errors')) {
    const found = /\d+/.exec(status ?? '')
    if (found !== null) t.equal(coded.find((error) => code?.includes(`\`${error.code}\``))?.statusCode, Number(found[0]), code ?? '')
  }
})

t.test('no code is made up outside errors.ts', async (t) => {
  const sources = ['plugins', 'workers'].flatMap((folder) => readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts')).map((file) => join(root, folder, file)))
  const used = new Set(sources.flatMap((file) => readFileSync(file, 'utf8').match(/FC_ERR_[A-Z_]+/g) ?? []))
  t.strictSame([...used].sort(), coded.map(({ code }) => code).sort())
})

const options: Record<string, readonly string[]> = {
  'Options of workers': workersOptionNames,
  'Options of a job': jobOptionNames,
  'Options of run()': runOptionNames,
  'Options of lifecycle': lifecycleOptionNames,
  'Options of limiter': limiterOptionNames,
  'Options of a policy': policyOptionNames,
  'Options of a bound': concurrencyOptionNames,
  'Options of loop': loopOptionNames,
  'Options of tasks + Options of stored tasks': tasksOptionNames,
  'Options of submit()': submitOptionNames,
  'Options of locks': locksOptionNames,
  'Options of a wait for a lock': acquireOptionNames,
  'Options of metrics': metricsOptionNames,
  'Options of operate': operateOptionNames,
  'Options of tracing': tracingOptionNames,
  'Options of dashboard': dashboardOptionNames
}

t.test('every table of options is compared', async (t) => {
  t.strictSame(pages.flatMap(({ text }) => [...text.matchAll(/^#+ (Options of .*)$/gm)].map((match) => match[1])).sort(), Object.keys(options).flatMap((headings) => headings.split(' + ')).sort())
})

for (const [heading, known] of Object.entries(options)) {
  t.test(heading, async (t) => {
    t.strictSame(names(heading), [...known].sort())
  })
}

t.test('each metric is listed with its labels, its name says its type, and each that is listed is a metric', async (t) => {
  const listed = table('Metrics of Prometheus').flatMap(([labels = '', metrics = '']) => codes(metrics).map((name) => ({ name, labels: codes(labels) })))
  const byName = (one: { name: string }, other: { name: string }): number => one.name < other.name ? -1 : 1
  t.strictSame(listed.sort(byName), instruments.map(({ name, labels }) => ({ name, labels: [...labels] })).sort(byName))
  for (const { name, type } of instruments) t.equal(/_total$/.test(name) ? 'counter' : /_(?:wait|run)_seconds$/.test(name) ? 'histogram' : 'gauge', type, name)
})

t.test('each channel is listed, and each that is listed is a channel', async (t) => {
  const files = readdirSync(join(root, 'plugins')).map((folder) => `../plugins/${folder}/channels.ts`).filter((file) => existsSync(new URL(file, import.meta.url)))
  const modules = await Promise.all(files.map(async (file) => await import(file) as Record<string, { name: string }>))
  t.ok(files.length > 0)
  const listed = table('Channels').flatMap(([part = '', channels = '']) => codes(channels).map((channel) => `fastify-concurrency:${codes(part).join()}:${channel}`))
  t.strictSame(listed.sort(), modules.flatMap((module) => Object.values(module).map(({ name }) => name)).sort())
})
