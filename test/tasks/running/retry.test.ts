import t from 'tap'
import fc from 'fast-check'
import { MAX_RETRY_AFTER, retryDelay } from '../../../plugins/tasks/running/retry.ts'

const backoff = { base: 100, max: 1_000 }

t.test('the ceiling doubles up to the maximum, and the whole range below it is used', async (t) => {
  t.same([1, 2, 3, 4, 5, 6].map((attempt) => retryDelay(attempt, undefined, backoff, 0.5)), [50, 100, 200, 400, 500, 500])
  t.equal(retryDelay(3, undefined, backoff, 0), 0)
})

t.test('an error may ask for a longer delay, never for a shorter one', async (t) => {
  t.equal(retryDelay(1, { retryAfter: 7 }, backoff, 0.5), 7_000)
  t.equal(retryDelay(6, { retryAfter: 0.1 }, backoff, 0.5), 500)
  t.equal(retryDelay(1, { retryAfter: MAX_RETRY_AFTER / 1_000 + 1 }, backoff, 0.5), MAX_RETRY_AFTER, 'longer than an hour: tried after an hour')
  t.equal(retryDelay(1, { retryAfter: Infinity }, backoff, 0.5), undefined, 'never')
  for (const retryAfter of [-1, NaN, '7', null]) t.equal(retryDelay(1, { retryAfter }, backoff, 0.5), 50)
})

t.test('the delay is always a number that a timer can take, from 0 to the maximum', async () => {
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 100_000 }), fc.nat({ max: 2 ** 31 - 1 }), fc.nat({ max: 2 ** 31 - 1 }), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    (attempt, base, max, random) => {
      const delay = retryDelay(attempt, new Error('x'), { base, max }, random)!
      return delay >= 0 && delay <= max
    }))
})
