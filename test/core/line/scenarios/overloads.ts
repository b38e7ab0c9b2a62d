/** More arrives than the threads can do: sudden, and steady. The threads work for those who are still there. */
import { fixed, type RunTime, type Tallies } from '../simulation.ts'
import { capacity, keyCounts, keyNames, product, runTimes, type Bar, type Family, type Scenario } from './scenario.ts'

type Keys = keyof typeof keyCounts
type Bars = Record<string, Bar>

const suddenLoads = product<[number, number, Keys]>([1, 2, 8, 32], [10, 50, 200], keyNames)
  .filter(([threads, ms]) => threads > 1 || ms < 200)

function sudden (patience: number, bar: number, every: number): Family {
  // Of clients that wait hardly longer than the time in which a thread becomes free, most get nothing whoever is
  // admitted.
  const loads = suddenLoads.filter(([threads, ms]) => patience > 300 || (ms < 200 && ms / threads < 50))
  return {
    name: `sudden 6x, patience ${patience} ms`,
    scenarios: loads.map(([threads, ms, keys]): Scenario => ({
      name: `${threads} threads, ${ms} ms, ${keys}, patience ${patience}`,
      figures (run) {
        const length = fixed(ms)
        const { windows } = run({
          threads,
          duration: 13_000,
          windows: [[1_000, 13_000]],
          sources: [
            { length, rate: 6 * capacity(length, threads), from: 1_000, keys: keyCounts[keys], key: 'key', patience },
            { length, burst: 2, key: 'first' }
          ]
        })
        return { goodput: windows[0]!.each[0]!.useful }
      }
    })),
    mean: { goodput: { atLeast: bar } },
    each: { goodput: { atLeast: 0.9 } },
    every
  }
}

export const suddenOverloads = [sudden(300, 0.95, 3), sudden(1_000, 0.95, 3), sudden(10_000, 0.97, 4)]

const steadyLoads = product<[keyof typeof runTimes, Keys, number, number]>(
  Object.keys(runTimes) as (keyof typeof runTimes)[], keyNames, [300, 1_000, 5_000, 30_000], [2])
  // Only of short jobs can much be done for clients that wait for 300 ms.
  .filter(([name, , patience]) => patience > 300 || name === '10 ms' || name === '50 ms')
const manyThreads = product<[keyof typeof runTimes, Keys, number, number]>(
  ['10 ms', '50 ms', '200 ms'], ['one key', '7 keys', 'own keys'], [1_000], [1, 8, 32])

/** With run times that drift, the load is at times below and at times above what the threads can do. */
const driftingBars = { goodput: { atLeast: 0.7 }, lost: { atMost: 0.4 } }

function steady (load: number, bars: Bars, each: Bars, every: number, loads = steadyLoads): Family {
  return {
    name: `steady ${load}x`,
    scenarios: loads.map(([name, keys, patience, threads]): Scenario => ({
      name: `${load}x, ${threads} threads, ${name}, ${keys}, patience ${patience}`,
      figures (run) {
        const length: RunTime = runTimes[name]
        const { windows } = run({
          threads,
          duration: 40_000,
          windows: [[5_000, 40_000]],
          sources: [{ length, rate: load * capacity(length, threads), keys: keyCounts[keys], key: 'key', patience }]
        })
        const [{ total }] = windows as [Tallies]
        const { arrived, refused, left, useful, inVain, fast } = total
        return { goodput: useful, inVain, fast, lost: (refused + left) / arrived }
      },
      ...(name === 'drifting' && load < 2 && { bars: driftingBars })
    })),
    mean: bars,
    each,
    every
  }
}

/** Clients that wait for 30 s, one job each, are never evidence of an overload, so some of them wait for long. */
const early = { inVain: { atMost: 0.1 }, fast: { atLeast: 0.7 } }

export const steadyOverloads = [
  steady(0.9, { lost: { atMost: 0.02 } }, { lost: { atMost: 0.11 } }, 5),
  steady(1.2, { goodput: { atLeast: 0.95 } }, { goodput: { atLeast: 0.9 } }, 5),
  steady(2, { goodput: { atLeast: 0.98 }, ...early }, { goodput: { atLeast: 0.93 } }, 6,
    [...steadyLoads, ...manyThreads]),
  steady(6, { goodput: { atLeast: 0.99 }, ...early }, { goodput: { atLeast: 0.97 } }, 7)
]
