/** A key that asks for little beside others that ask for much: it is served at its next turn. */
import { fixed, type Source } from '../simulation.ts'
import { product, stream, type Family, type Scenario } from './scenario.ts'

/** What the light key is beside, and how many keys it shares the threads with, about. */
interface Other {
  keys: number
  source: (ms: number, threads: number) => Source
}

const open = (keys: number, load: number, patience: number): Other['source'] => (ms, threads) =>
  stream(load, ms, threads, { keys, patience })
const closed = (keys: number): Other['source'] => (ms, threads) =>
  ({ length: fixed(ms), clients: 50, keys, key: 'other', spread: 50 * ms / threads })

const others: Record<string, Other> = {
  '50 closed keys': { keys: 50, source: closed(50) },
  'one key with 50 jobs': { keys: 1, source: closed(1) },
  '7 keys at 2x': { keys: 7, source: open(7, 2, 1_000) },
  'new keys at 0.8x': { keys: 20, source: open(Infinity, 0.8, 5_000) },
  'new keys at 3x': { keys: 20, source: open(Infinity, 3, 1_000) }
}

const loads = product<[string, number, number, number, number]>(
  Object.keys(others), [50, 300], [1, 2, 8], [1, 20], [0.01, 1, 10])
  // A job that costs a fifth of the others' is not light: in fair order it waits for its own cost from each of the
  // other keys.
  .filter(([, ms, , , own]) => own < ms / 10)
  // Nor is a key that asks for more than half of its fair share.
  .filter(([beside, , threads, rate, own]) => rate * own / 1_000 <= threads / (others[beside]!.keys + 1) / 2)

/** @param job the light key's name of job; the others have 0 */
const scenarios = (job: number): Scenario[] => loads.map(([beside, ms, threads, rate, own]) => ({
  name: `${rate}/s of ${own} ms beside ${beside} of ${ms} ms, ${threads} threads`,
  figures (run) {
    const victim = { length: fixed(own), job, rate, from: 3_000, key: 'light', patience: 10_000 }
    const duration = rate === 1 ? 203_000 : 33_000
    // The last ones have the time to be served.
    const sources = [others[beside]!.source(ms, threads), victim]
    const { windows } = run({ threads, sources, duration, windows: [[3_000, duration - 3_000]] })
    const { arrived, served, p99Turns, p99Wait } = windows[0]!.each[1]!
    // In time, the gaps between threads that become free depend on how they began.
    return { served: served / arrived, p99: p99Turns, time: p99Wait / (ms / threads) }
  }
}))

const bars: Pick<Family, 'mean' | 'each' | 'every'> = {
  mean: { served: { atLeast: 0.99 }, p99: { atMost: 2 } },
  each: { served: { atLeast: 0.99 }, p99: { atMost: 3 } },
  every: 5
}

export const light: Family = { name: 'light', scenarios: scenarios(1), ...bars }
/** What is known of the name is how long the jobs of the others take. */
export const lightOfOneName: Family = {
  ...bars,
  name: 'one name, light',
  scenarios: scenarios(0),
  // Until it has run, it is one of the strangers.
  mean: { served: { atLeast: 0.99 }, p99: { atMost: 3 } },
  each: { served: { atLeast: 0.97 }, p99: { atMost: 8 } }
}

/** Light keys that come for the first time, each with one job, beside keys that have run. */
export const newcomers: Family = {
  name: 'newcomers',
  scenarios: product<[number, number, number]>([0, 1], [50, 300], [1, 2, 8]).map(([job, ms, threads]): Scenario => ({
    name: `1 ms beside 50 closed keys of ${ms} ms, ${threads} threads, ${job === 0 ? 'one name' : 'two names'}`,
    figures (run) {
      const newcomer = { length: fixed(1), job, rate: 1, from: 20_000, keys: Infinity, key: 'new', patience: 10_000 }
      const sources = [closed(50)(ms, threads), newcomer]
      const { windows } = run({ threads, sources, duration: 223_000, windows: [[20_000, 210_000]] })
      const { arrived, served, p99Turns } = windows[0]!.each[1]!
      return { served: served / arrived, p99: p99Turns }
    }
  })),
  mean: { served: { atLeast: 0.98 }, p99: { atMost: 8 } },
  every: 2
}

/** A light key that comes while the others have hardly run: all of them began at once, on a pool that knew nothing. */
export const coldStarts: Family = {
  name: 'light, cold start',
  scenarios: product<[number, number, number]>(
    [300, 1_000], [1, 2, 8], [100, 1_000, 2_000]
  ).map(([ms, threads, from]): Scenario => ({
    name: `${from} ms after 50 closed keys of ${ms} ms, ${threads} threads`,
    figures (run) {
      const light = { length: fixed(0.1), job: 1, rate: 20, regular: true, from, key: 'light', patience: 5_000 }
      const crowd = { length: fixed(ms), clients: 50, keys: Infinity, key: 'other', spread: 50 }
      const { windows } = run({ threads, sources: [crowd, light], duration: 18_000, windows: [[0, 12_000]] })
      const { arrived, served } = windows[0]!.each[1]!
      return { served: served / arrived }
    }
  })),
  mean: { served: { atLeast: 0.98 } },
  every: 2
}
