// docs/grafana.json asks for metrics and labels that are exposed, and shows every metric.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { instruments } from '../../plugins/metrics/prometheus.ts'
import { root } from '../compiler.ts'

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

t.test('every metric is on the Grafana dashboard', async (t) => {
  const expressions = panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)).join('\n')
  t.strictSame(instruments.map(({ name }) => name).filter((name) => !expressions.includes(prefix + name)), [])
})
