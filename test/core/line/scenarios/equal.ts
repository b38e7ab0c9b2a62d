/** Equal clients in a closed loop: each has one request at a time, and each should get the same thread time. */
import { around, fixed, type RunTime, type SimulationOptions } from '../simulation.ts'
import { least, mean, product, type Family, type Figures, type Run, type Scenario } from './scenario.ts'

interface Loop {
  threads: number
  runTime: RunTime
  clients: number
  think?: number
  patience?: number
  retry?: number | 'after'
}

/**
 * How long an equal client waits for its answer when all wait, in ms: the time in which the threads serve each of
 * them once.
 */
const roundOf = ({ threads, runTime, clients }: Loop): number => clients * runTime.mean / threads

function load (loop: Loop): Omit<SimulationOptions, 'seed'> {
  const { threads, runTime: length, clients, think = 0, patience = Infinity, retry = 200 } = loop
  const cycle = Math.max(roundOf(loop), length.mean + think)
  return {
    threads,
    sources: [{ length, clients, keys: Infinity, key: 'client', think, patience, retry, spread: 200 }],
    duration: Math.max(10_000, 25 * cycle)
  }
}

export function fairness (run: Run, loop: Loop, more: Partial<SimulationOptions> = {}): Figures {
  const options = load(loop)
  const { each: [clients], users } = run({ ...options, ...more, sources: [...options.sources, ...more.sources ?? []] })
  const times = users.map(({ ms }) => ms)
  return { worst: least(times) / mean(times), longest: clients!.longest / roundOf(loop), refused: clients!.refused }
}

const THREADS = [1, 2, 8, 32] as const
const loops = product<[number, number, number, number, number, number | 'after']>(
  THREADS, [50, 300, 900], [1.5, 3, 6, 12, 30], [0, 500, 2_000], [1_000, 5_000, 30_000, Infinity], [200, 'after'])
  .map(([threads, ms, perThread, think, patience, retry]) =>
    ({ threads, runTime: fixed(ms), clients: Math.ceil(threads * perThread), think, patience, retry }))
  // Clients that think for most of the time hardly meet.
  .filter((loop) => roundOf(loop) >= 0.8 * (loop.runTime.mean + loop.think))

const nameOf = ({ threads, clients, runTime, think, patience, retry }: typeof loops[number]): string =>
  `${threads} threads, ${clients} x ${runTime.mean} ms, think ${think}, patience ${patience}, retry ${retry}`

/** So many of a list, spread over all of it in an order that has nothing to do with how the list was made. */
function some<T> (all: readonly T[], count: number): T[] {
  const ordered = all.map((value, index) => ({ value, order: (index * 0.6180339887) % 1 }))
  return ordered.sort((a, b) => a.order - b.order).slice(0, count).map(({ value }) => value)
}

// Clients are patient if they outwait a round in which chance puts some of them last.
const isPatient = (loop: typeof loops[number]): boolean =>
  loop.patience >= 1.5 * roundOf(loop) + loop.runTime.mean && roundOf(loop) <= 9_000
const patient = some(loops.filter(isPatient), 184)
// Of clients that wait hardly longer than a job runs, most get nothing whoever is admitted.
const isImpatient = (loop: typeof loops[number]): boolean =>
  loop.patience < roundOf(loop) && loop.patience >= 2 * loop.runTime.mean
const impatient = some(loops.filter(isImpatient), 60)

/** Strangers that come twice a second and leave after 150 ms, beside patient clients. */
const strangers: Scenario[] = ([[2, 12, 300], [2, 30, 300], [8, 60, 300]] as const).map(([threads, clients, ms]) => ({
  name: `${threads} threads, ${clients} x ${ms} ms beside strangers`,
  figures (run) {
    const runTime = fixed(ms)
    const stranger = { length: runTime, rate: 2, keys: Infinity, key: 'stranger', patience: 150 }
    return fairness(run, { threads, runTime, clients }, { sources: [stranger] })
  }
}))

export const equal: Family = {
  name: 'equal, patient',
  scenarios: [
    ...strangers, ...patient.map((loop): Scenario => ({ name: nameOf(loop), figures: (run) => fairness(run, loop) }))
  ],
  mean: { worst: { atLeast: 0.9 }, longest: { atMost: 1.5 }, refused: { atMost: 0 } },
  every: 5
}

const unequalLoops = product<[number, { threads: number, clients: number, ms: number }]>([0.01, 0.1, 0.5], [
  { threads: 2, clients: 12, ms: 300 }, { threads: 2, clients: 30, ms: 300 }, { threads: 8, clients: 60, ms: 300 },
  { threads: 2, clients: 50, ms: 50 }, { threads: 2, clients: 50, ms: 300 }, { threads: 2, clients: 60, ms: 300 },
  { threads: 2, clients: 18, ms: 900 }
])
const unequalScenarios = (isLong: boolean): Scenario[] => unequalLoops
  .filter(([, { threads, clients, ms }]) => (clients * ms / threads > 5_000) === isLong)
  .map(([spread, { threads, clients, ms }]) => ({
    name: `${threads} threads, ${clients} x ${ms} ms ±${100 * spread} %`,
    figures: (run) => fairness(run, { threads, runTime: around(ms, spread), clients })
  }))

/** Who is first in one round may be last in the next one, so a wait is up to two rounds. */
export const unequal: Family = {
  name: 'equal, unequal run times',
  scenarios: unequalScenarios(false),
  mean: { worst: { atLeast: 0.85 }, longest: { atMost: 2 }, refused: { atMost: 0 } },
  each: { worst: { atLeast: 0.75 }, longest: { atMost: 2.4 }, refused: { atMost: 0 } },
  every: 2
}

/** Two rounds are longer than maxWait, so some are refused. */
export const unequalLong: Family = {
  name: 'equal, unequal run times, round > maxWait / 2',
  scenarios: unequalScenarios(true),
  mean: { worst: { atLeast: 0.8 }, longest: { atMost: 2.2 }, refused: { atMost: 120 } },
  each: { worst: { atLeast: 0.7 }, longest: { atMost: 2.2 }, refused: { atMost: 300 } },
  every: 2
}

const costs = [[40, 200, 600], [50, 800], [100, 200, 800, 1_200], [20, 50, 300]] as const
const pools = [{ threads: 1, keys: 12 }, { threads: 2, keys: 12 }, { threads: 2, keys: 24 }, { threads: 8, keys: 48 }]

/** Patient keys that ask for the same time in jobs of different lengths: who asks for long ones waits longer. */
export const unequalCosts: Family = {
  name: 'equal, unequal costs',
  scenarios: product<[typeof costs[number], typeof pools[number], number, boolean]>(
    [...costs], pools, [1, 2], [false, true])
    .map(([lengths, { threads, keys }, width, areNames]) => ({
      name: `${threads} threads, ${keys} keys, ${width} x ${lengths.join('/')} ms each${areNames ? ', a name each' : ''}`,
      figures (run) {
        const sources = lengths.map((ms, job) => ({
          length: fixed(ms),
          clients: keys / lengths.length * width,
          keys: keys / lengths.length,
          key: `${ms} ms`,
          job: areNames ? job : 0,
          spread: 200
        }))
        const { users } = run({ threads, duration: 80_000, windows: [[20_000, 80_000]], sources })
        const times = new Map<string, number>()
        for (const { key, lately } of users) times.set(key, (times.get(key) ?? 0) + lately)
        return { worst: least([...times.values()]) / mean([...times.values()]) }
      }
    })),
  mean: { worst: { atLeast: 0.9 } },
  each: { worst: { atLeast: 0.7 } },
  every: 4
}

/** Clients that give up before a round is over. The threads work for those who are still there. */
export const equalImpatient: Family = {
  name: 'equal, impatient',
  scenarios: impatient.map((loop): Scenario => ({
    name: nameOf(loop),
    figures (run) {
      const { total } = run(load(loop))
      return { goodput: total.useful, inVain: total.inVain }
    }
  })),
  mean: { goodput: { atLeast: 0.8 }, inVain: { atMost: 0.15 } },
  each: { goodput: { atLeast: 0.7 }, inVain: { atMost: 0.6 } },
  every: 3
}
