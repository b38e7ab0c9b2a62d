import t from 'tap'
import { Counters } from '../../plugins/workers/pool/stats.ts'

t.test('percentiles are in ms, within 1 %', async (t) => {
  const stats = new Counters()
  for (let ms = 1; ms <= 100; ms++) stats.count({ how: 'completed', durationMs: ms, value: undefined }, 0)
  const { run } = stats.snapshot()
  t.equal(run.count, 100)
  for (const [name, ms] of [['mean', 50.5], ['p50', 50], ['p90', 90], ['p99', 99], ['max', 100]] as const) t.ok(Math.abs(run[name] - ms) <= ms / 100, `${name}: ${run[name]}`)
})
