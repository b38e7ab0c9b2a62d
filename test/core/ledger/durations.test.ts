import t from 'tap'
import fc from 'fast-check'
import { Book } from '../../../plugins/core/ledger/counts.ts'
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

t.test('durations shorter than all bounds are in the first bucket, longer ones in the last, and percentiles stay numbers', async (t) => {
  const durations = new Durations()
  durations.record(0)
  durations.record(0)
  durations.record(0.0005)
  t.ok(durations.percentiles().p50 < 0.001, 'below a microsecond')
  durations.record(1e12)
  const { count, sum, buckets } = durations.snapshot()
  t.strictSame([count, sum], [4, 1e12 + 0.0005])
  t.strictSame([buckets[0], buckets.at(-1), buckets.length], [3, 1, bucketBounds.length + 1])
  const { p50, p99, max } = durations.percentiles()
  t.ok(p50 >= 0 && p50 < 0.001, `p50: ${p50}`)
  t.ok(p99 > 5e8 && p99 <= 1e12, `p99: ${p99}`)
  t.equal(max, 1e12)
})

t.test('names after the limit of a book share the item of the name other, which is made once', async (t) => {
  let made = 0
  const book = new Book(() => ({ id: ++made }), 2)
  const [a, b] = [book.of('a'), book.of('b')]
  t.not(a, b)
  t.equal(book.of('a'), a)
  const other = book.of('c')
  t.not(other, a)
  t.not(other, b)
  t.equal(book.of('d'), other)
  t.equal(book.of('other'), other)
  t.equal(book.of('b'), b)
  t.strictSame(book.map((name, { id }) => [name, id]), [['a', 1], ['b', 2], ['other', 3]])
  t.strictSame([...book.all()], [a, b, other])
})

t.test('the bounds of the buckets, which dashboards and alerts refer to, are the steps of ISO 3 from 0.1 ms to 30 s', async (t) => {
  t.strictSame(bucketBounds, [
    0.1, 0.125, 0.16, 0.2, 0.25, 0.315, 0.4, 0.5, 0.63, 0.8,
    1, 1.25, 1.6, 2, 2.5, 3.15, 4, 5, 6.3, 8,
    10, 12.5, 16, 20, 25, 31.5, 40, 50, 63, 80,
    100, 125, 160, 200, 250, 315, 400, 500, 630, 800,
    1_000, 1_250, 1_600, 2_000, 2_500, 3_150, 4_000, 5_000, 6_300, 8_000,
    10_000, 12_500, 16_000, 20_000, 25_000, 30_000
  ])
})
