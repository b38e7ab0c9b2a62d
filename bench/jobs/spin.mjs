/**
 * Computes for a number of iterations. With more threads than CPUs, a loop that watches the clock would count time in which it didn't run.
 *
 * @param {number} iterations of about a nanosecond
 */
export default function spin (iterations) {
  let state = iterations | 0
  for (let i = 0; i < iterations; i++) state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0
  return state
}
