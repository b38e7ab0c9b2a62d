import fc from 'fast-check'
import t from 'tap'
import { editDistance } from '../../example/cities/edit-distance.ts'
import { ordersOf, wordsOf } from '../../example/cities/words.ts'

/** The textbook's whole matrix. */
function wholeMatrix (a: string, b: string): number {
  const cost = Array.from({ length: a.length + 1 }, (_, i) => Array.from({ length: b.length + 1 }, (_, j) => i === 0 ? j : j === 0 ? i : 0))
  const at = (i: number, j: number): number => cost[i]?.[j] ?? Infinity
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      const swapped = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? at(i - 2, j - 2) + 1 : Infinity
      cost[i]![j] = Math.min(at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1), at(i - 1, j) + 1, at(i, j - 1) + 1, swapped)
    }
  }
  return at(a.length, b.length)
}

t.test('the banded distance is that of the whole matrix up to the limit, and more than the limit beyond it', async (t) => {
  const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 10 })
  fc.assert(fc.property(word, word, fc.integer({ min: -1, max: 12 }), (a, b, limit) => {
    const exact = wholeMatrix(a, b)
    const banded = editDistance(a, b, limit)
    return exact <= limit ? banded === exact : banded > limit
  }), { numRuns: 5_000 })
  t.equal(editDistance('tokoy', 'tokyo', 3), 1, 'a swap is one edit')
  t.equal(editDistance('x'.repeat(500), 'x'.repeat(499), 3), 0, 'longer texts are compared by their beginnings')
})

t.test('words in every order, each once', async (t) => {
  t.same(ordersOf(wordsOf('  rio de ')), ['rio de', 'de rio'])
  t.equal(ordersOf(['a', 'b', 'c', 'd', 'e']).length, 120)
  t.same(ordersOf(['de', 'rio', 'de']), ['de rio de', 'de de rio', 'rio de de'])
})
