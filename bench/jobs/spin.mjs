/** Where each search finds nothing. It fits into the first cache of a CPU. */
const bytes = new Uint8Array(4_096)
/** The iterations that one search counts for. */
const STEP = 1_000

/**
 * Computes for a number of iterations. With more threads than CPUs, a loop that watches the clock would count time in which it didn't run.
 * A loop of plain arithmetic was rejected: Node 24 runs it six times as slowly after about five billion steps, which is in the midst of a benchmark.
 *
 * @param {number} iterations of about a nanosecond
 */
export default function spin (iterations) {
  let state = 0
  for (let i = 0; i < iterations; i += STEP) state += bytes.indexOf(1)
  return state
}
