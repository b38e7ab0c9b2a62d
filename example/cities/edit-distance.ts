/** Longer texts are compared by their beginnings. */
const MAX_LENGTH = 128

// Three rows of the matrix, reused: search calls this millions of times in a row, and a thread runs one job at a time.
let [before, above, row] = Array.from({ length: 3 }, () => new Uint8Array(MAX_LENGTH + 1)) as [Uint8Array, Uint8Array, Uint8Array]

/**
 * The fewest letters to insert, delete, replace or swap with their neighbour to make `b` of `a`; any number above
 * `limit` as soon as it must be more than `limit`. A letter is a UTF-16 unit.
 *
 * Optimal string alignment, within Ukkonen's band: cells further than `limit` from the diagonal can't count.
 * With swaps, since "tokoy" is one slip of the fingers from "tokyo" and not two.
 */
export function editDistance (a: string, b: string, limit: number): number {
  const n = Math.min(a.length, MAX_LENGTH)
  const m = Math.min(b.length, MAX_LENGTH)
  if (Math.abs(n - m) > limit) return limit + 1
  for (let j = 0; j <= m; j++) above[j] = j

  for (let i = 1; i <= n; i++) {
    const first = Math.max(1, i - limit)
    const last = Math.min(m, i + limit)
    const letter = a.charCodeAt(i - 1)
    let best = row[first - 1] = first === 1 ? i : limit + 1
    for (let j = first; j <= last; j++) {
      const same = letter === b.charCodeAt(j - 1)
      let cost = above[j - 1]! + (same ? 0 : 1)
      // The cell above the band's right edge was never written.
      if (j < i + limit) cost = Math.min(cost, above[j]! + 1)
      cost = Math.min(cost, row[j - 1]! + 1)
      if (!same && i > 1 && j > 1 && letter === b.charCodeAt(j - 2) && a.charCodeAt(i - 2) === b.charCodeAt(j - 1)) {
        cost = Math.min(cost, before[j - 2]! + 1)
      }
      row[j] = cost
      if (cost < best) best = cost
    }
    if (best > limit) return limit + 1;
    [before, above, row] = [above, row, before]
  }
  return above[m]!
}
