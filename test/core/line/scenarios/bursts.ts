/** Bursts of work up to maxWait are served whole, whoever sends them and whatever came before. */
import { fixed, type Source } from '../simulation.ts'
import { product, stream, type Family, type Scenario } from './scenario.ts'

const THREADS = 2
const bursts = [[60, 10], [30, 100], [12, 300], [9, 900], [60, 300], [20, 900], [190, 100], [900, 20]] as const
const keyCounts = { 'one key': 1, '7 keys': 7, 'own keys': Infinity } as const

/** What happens besides the burst, which comes at `at`. */
interface Context {
  at: number
  threads?: number
  every?: number
  others: (ms: number) => Source[]
}

const contexts: Record<string, Context> = {
  alone: { at: 3_000, others: () => [] },
  'each 15 s': { at: 3_000, every: 15_000, others: () => [] },
  'beside 0.3x': { at: 3_000, others: (ms) => [stream(0.3, ms, THREADS, { keys: 7, patience: 10_000 })] },
  '2 s after an attack': { at: 17_000, others: (ms) => [stream(3, ms, THREADS, { until: 15_000, patience: 150 })] },
  '4 s after an overload': {
    at: 19_000, others: (ms) => [stream(3, ms, THREADS, { until: 15_000, keys: 40, patience: 1_000 })]
  },
  '4 s after a long overload': {
    at: 124_000, others: (ms) => [stream(3, ms, THREADS, { until: 120_000, keys: Infinity, patience: 1_000 })]
  },
  'on 8 threads': { at: 3_000, threads: 8, others: () => [] }
}

const loads = product<[typeof bursts[number], keyof typeof keyCounts, keyof typeof contexts]>(
  bursts, Object.keys(keyCounts) as (keyof typeof keyCounts)[], Object.keys(contexts))
  // Nine seconds of work for all threads take longer than maxWait if others have a third of them.
  .filter(([[count, ms], , context]) => context !== 'beside 0.3x' || count * ms / THREADS < 5_000)

/** The bursts that are served within maxWait by threads that now and then stop. */
export const isShort = ({ name }: Scenario): boolean =>
  bursts.some(([count, ms]) => count * ms / THREADS < 5_000 && name.startsWith(`${count} x ${ms} ms`))

export const isolatedBursts: Family = {
  name: 'isolated bursts',
  scenarios: loads.map(([[count, ms], keys, name]): Scenario => ({
    name: `${count} x ${ms} ms of ${keys}, ${name}`,
    figures (run) {
      const { at, threads = THREADS, every = Infinity, others } = contexts[name]!
      const duration = (every === Infinity ? at : at + 2 * every) + 12_000
      const { each } = run({
        threads,
        duration,
        sources: [
          { length: fixed(ms), burst: count, from: at, every, keys: keyCounts[keys], key: 'burst', patience: 30_000 },
          // By these the pool learns how long a job runs.
          { length: fixed(ms), burst: 2, key: 'first' },
          ...others(ms)
        ]
      })
      const { arrived, refused, left } = each[0]!
      return { lost: (refused + left) / arrived }
    }
  })),
  mean: { lost: { atMost: 0.01 } },
  each: { lost: { atMost: 0.02 } },
  every: 5
}
