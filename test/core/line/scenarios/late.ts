/**
 * An event loop that is slow for lack of CPU: it hears of the end of a job long after, and until then the thread has
 * nothing to do. The threads can then do much less than the run times say.
 */
import { fixed } from '../simulation.ts'
import { keyCounts, product, type Family, type Scenario } from './scenario.ts'

type Keys = keyof typeof keyCounts

export const lateOverload: Family = {
  name: 'late: overload',
  scenarios: product<[number, number, number, Keys]>([2, 8], [1, 10, 50], [30, 250], ['one key', '7 keys', 'own keys'])
    .map(([load, ms, late, keys]): Scenario => ({
      name: `${load}x, jobs of ${ms} ms heard of ${late} ms late, ${keys}`,
      figures (run) {
        const threads = 2
        const { windows } = run({
          threads,
          late,
          duration: 30_000,
          windows: [[3_000, 30_000]],
          sources: [{
            length: fixed(ms), rate: load * threads * 1_000 / (ms + late), keys: keyCounts[keys], key: 'key', patience: 1_000
          }]
        })
        return { goodput: windows[0]!.total.useful }
      }
    })),
  mean: { goodput: { atLeast: 0.9 } },
  // Keys that ask once leave their debts to all one after the other: at 8 jobs a second, that is seen late.
  each: { goodput: { atLeast: 0.5 } },
  every: 5
}
