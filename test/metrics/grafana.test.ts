// docs/grafana.json and docs/alerts.yml ask for metrics and labels that are exposed, and shows every metric.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import Fastify from 'fastify'
import t from 'tap'
import concurrency from '../../plugins/index.ts'
import { phases } from '../../plugins/lifecycle/phases.ts'
import { instruments } from '../../plugins/metrics/instruments.ts'
import { lockRefusalReasons } from '../../plugins/shared/errors.ts'
import { defineTasks } from '../../plugins/tasks/index.ts'
import { root } from '../compiler.ts'
import { jobs } from '../fixtures/jobs.ts'
import { execArgv } from '../helper.ts'

interface Panel { title: string, targets: Array<{ expr: string, legendFormat: string }> }
const { panels } = JSON.parse(readFileSync(join(root, 'docs/grafana.json'), 'utf8')) as { panels: Panel[] }

const prefix = 'fastify_concurrency_'
const series = new Map(instruments.flatMap((instrument) => {
  const names = instrument.type === 'histogram' ? ['_bucket', '_sum', '_count'].map((end) => instrument.name + end) : [instrument.name]
  return names.map((name) => [prefix + name, instrument] as const)
}))

/** Of the scrape itself, and of buckets. A scrape renames our label `job`, since it has one of that name. */
const others = ['job', 'instance', 'exported_job', 'le']

for (const { title, targets } of panels) {
  t.test(`Grafana: ${title}`, async (t) => {
    t.ok(targets.length > 0)
    for (const { expr, legendFormat } of targets) {
      const names = expr.match(/fastify_concurrency_\w+/g) ?? []
      t.ok(names.length > 0, expr)
      for (const name of names) t.ok(series.has(name), `${name} is exposed`)
      const labels = new Set([...others, ...names.flatMap((name) => series.get(name)?.labels ?? [])])
      const used = [...expr.matchAll(/by \(([^)]*)\)/g), ...legendFormat.matchAll(/\{\{([^}]*)\}\}/g)].flatMap(([, list = '']) => list.split(', '))
      const matched = [...expr.matchAll(/([a-z_]+)(?:=~|=|!=)"/g)].map(([, label = '']) => label)
      t.strictSame([...used, ...matched].filter((label) => !labels.has(label)), [], `labels of ${expr}`)
    }
  })
}

t.test('the alert rules ask for metrics, labels and values that are exposed', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(concurrency, {
    workers: { jobs, maxThreads: 1, execArgv },
    tasks: { tasks: defineTasks({ mail: { handler () {} } }) },
    limiter: { policies: { few: { rate: 1, burst: 1 } } },
    loop: {},
    metrics: { path: '/metrics' }
  })
  const { body } = await app.inject('/metrics')
  const rules = readFileSync(join(root, 'docs/alerts.yml'), 'utf8')
  const expressions = [...rules.matchAll(/expr: (.*)/g)].map(([, expr = '']) => expr)
  t.equal(expressions.length, rules.match(/alert: /g)?.length)
  for (const expr of expressions) {
    for (const [, name = '', selector = ''] of expr.matchAll(/(fastify_concurrency_\w+)(?:\{([^}]*)\})?/g)) {
      t.ok(series.has(name), `${name} is exposed`)
      // What Redis stores is exposed only where there is a Redis.
      if (!name.includes('stored_tasks')) t.ok(body.split('\n').some((line) => line.startsWith(name) && line.includes(selector.replace('!=', '='))), `${name}{${selector}} is there from the start`)
      const labels = [...expr.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list = '']) => list.split(', '))
      t.strictSame(labels.filter((label) => label !== 'instance' && !series.get(name)?.labels.includes(label)), [], expr)
    }
  }
})

t.test('the docs list the values of labels that are exposed', async (t) => {
  const [, docs = ''] = readFileSync(join(root, 'docs/metrics.md'), 'utf8').split('## Labels')
  const valuesOf = (row: string): string[] => [...(new RegExp(`^\\| ${row} \\|(.*)\\|`, 'm').exec(docs)?.[1] ?? '').matchAll(/`([a-z_]+)`/g)].map(([, value = '']) => value)
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(concurrency, { workers: { jobs, maxThreads: 1, execArgv }, tasks: { tasks: defineTasks({ mail: { handler () {} } }) }, metrics: { path: '/metrics' } })
  const { body } = await app.inject('/metrics')
  const exposed = (metric: string, label: string): string[] => [...new Set([...body.matchAll(new RegExp(`^fastify_concurrency_${metric}\\{.*${label}="([^"]*)"`, 'gm'))].map(([, value = '']) => value))]
  t.strictSame(exposed('jobs_total', 'outcome'), valuesOf('`outcome` of jobs'))
  t.strictSame(exposed('tasks_total', 'outcome'), valuesOf('`outcome` of tasks'))
  t.strictSame(exposed('jobs_refused_total', 'reason'), valuesOf('`reason` of jobs'))
  t.strictSame(exposed('tasks_refused_total', 'reason'), valuesOf('`reason` of tasks'))
  t.strictSame([...lockRefusalReasons], valuesOf('`reason` of locks'))
  t.strictSame([...phases], valuesOf('`phase`'))
})

t.test('every metric is on the Grafana dashboard', async (t) => {
  const expressions = panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)).join('\n')
  t.strictSame(instruments.map(({ name }) => name).filter((name) => !expressions.includes(prefix + name)), [])
})
