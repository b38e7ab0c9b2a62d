import t from 'tap'
import fc from 'fast-check'
import { bucketBounds, Durations } from '../../../plugins/core/ledger/durations.ts'

t.test('percentiles are in ms, within 1 %', async (t) => {
  const durations = new Durations()
  for (let ms = 1; ms <= 100; ms++) durations.record(ms)
  const measured = durations.percentiles()
  t.equal(measured.count, 100)
  for (const [name, ms] of [['mean', 50.5], ['p50', 50], ['p90', 90], ['p99', 99], ['max', 100]] as const) {
    t.ok(Math.abs(measured[name] - ms) <= ms / 100, `${name}: ${measured[name]}`)
  }
  t.strictSame(new Durations().percentiles(), { count: 0, mean: 0, p50: 0, p90: 0, p99: 0, max: 0 })
})

t.test('whatever is measured, each percentile is within 1 % of a measured value of its rank, and each value is in its bucket', async () => {
  const values = fc.array(fc.oneof(fc.double({ min: 0.0011, max: 1e8, noNaN: true }), fc.constantFrom(...bucketBounds)), { minLength: 1, maxLength: 200 })
  fc.assert(fc.property(values, (measured) => {
    const durations = new Durations()
    for (const ms of measured) durations.record(ms)
    const sorted = measured.toSorted((a, b) => a - b)
    const { p50, p90, p99, max } = durations.percentiles()
    const near = (value: number, share: number): boolean => {
      const exact = sorted[Math.max(0, Math.ceil(share * sorted.length - 1e-9) - 1)] as number
      return Math.abs(value - exact) <= exact / 100 + 1e-9
    }
    const { count, buckets } = durations.snapshot()
    const expected = [...bucketBounds, Infinity].map((bound, index) =>
      sorted.filter((ms) => ms <= bound && ms > (index === 0 ? -1 : bucketBounds[index - 1] as number)).length)
    return near(p50, 0.5) && near(p90, 0.9) && near(p99, 0.99) && max === sorted.at(-1) && count === measured.length &&
      buckets.every((each, index) => each === expected[index])
  }), { numRuns: 500 })
})
