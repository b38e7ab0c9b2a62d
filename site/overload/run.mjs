/** Runs the four ways on the same arrivals, in virtual time. The admission is the one of the package, plugins/core/line, unchanged. */
import { fixed, simulate } from '../../test/core/line/simulation.ts'
import { rivals } from './rivals.mjs'

export const DURATION = 30_000
export const WINDOW = 1_000
const THREADS = 2
const RUN = 20

const seconds = Array.from({ length: DURATION / WINDOW }, (_, index) => [index * WINDOW, (index + 1) * WINDOW])

/** @param {{ load: number, patience: number, burst: number }} knobs load as a multiple of the capacity, patience in s, burst in s of work */
export function runAll ({ load, patience, burst }) {
  const rate = load * THREADS * 1_000 / RUN
  const sources = [{ length: fixed(RUN), rate, until: DURATION, key: 'clients' }]
  const count = Math.round(burst * THREADS * 1_000 / RUN)
  if (count > 0) sources.push({ length: fixed(RUN), rate: 0, burst: count, from: DURATION / 3, key: 'burst' })
  return rivals.map(({ name, admission }) => {
    // Clients that come last are served, or give up, after DURATION.
    const duration = DURATION + patience * 1_000 + RUN
    const { total, windows: [whole, ...parts] } = simulate({ sources, seed: 1, duration, threads: THREADS, patience: patience * 1_000, windows: [[0, DURATION], ...seconds], admission })
    const { arrived } = total
    return {
      name,
      served: total.served / arrived,
      left: total.left / arrived,
      refused: total.refused / arrived,
      useful: whole.total.useful,
      p99: total.p99,
      // Of those who came in the window: the share that was served, of what the threads could do.
      line: parts.map(({ total: part }) => part.served / (THREADS * WINDOW / RUN))
    }
  })
}
