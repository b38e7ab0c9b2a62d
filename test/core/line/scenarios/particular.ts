/**
 * Loads that are one of a kind: runs that are never measured, priorities, caps of a name, unequal costs, a liar,
 * invented keys.
 */
import { fixed, mix, type RunTime, type Simulated, type Source } from '../simulation.ts'
import { capacity, least, mean, type Bar, type Family, type Figures, type Run, type Scenario } from './scenario.ts'

const worst = (values: readonly number[]): number => least(values) / mean(values)
const timesOf = ({ users }: Pick<Simulated, 'users'>, source: number): number[] =>
  users.filter((user) => user.source === source).map(({ ms }) => ms)
/** What waits only for its turn among equals: clients of a closed loop, one key each. */
const clients = (count: number, length: RunTime, more: Partial<Source> = {}): Source =>
  ({ length, clients: count, keys: Infinity, key: 'client', spread: 200, ...more })
/** A key with several jobs waiting all the time. */
const backlogged = (key: string, length: RunTime, more: Partial<Source> = {}): Source =>
  ({ length, clients: 8, key, spread: 200, ...more })

const sixOf = (length: RunTime): Source[] => [1, 2, 3, 4, 5, 6].map((index) => backlogged(`key ${index}`, length))

const NO_EVIDENCE = 'keys that come once and wait for maxWait fill the queue, and are no evidence of an overload'

function scenario (name: string, bars: Record<string, Bar>, figures: (run: Run) => Figures): Scenario {
  return { name, bars, figures }
}

const honest = { worst: { atLeast: 0.85 }, liar: { atMost: 1.1 } }
const fair = { worst: { atLeast: 0.9 }, refused: { atMost: 0 } }

/** Two names, whose jobs run for 20 and 200 ms. Each client has its key. */
function unequalCosts (run: Run, threads: number, each: number): Figures {
  const sources = [clients(each, fixed(20), { key: 'short' }), clients(each, fixed(200), { key: 'long', job: 1 })]
  const { users, total } = run({ threads, duration: 60_000, sources })
  return { worst: worst(users.map(({ ms }) => ms)), refused: total.refused }
}

/** Clients that share a key. */
function shared (run: Run, count: number): Figures {
  const sources = [{ length: fixed(300), clients: count, key: 'shared', spread: 200 }]
  const { users, total } = run({ duration: 60_000, sources })
  return { worst: worst(users.map(({ ms }) => ms)), refused: total.refused }
}

/** Keys with a backlog each, of short and of long jobs. */
function backlogs (run: Run): Figures {
  const sources = [fixed(20), fixed(200)].flatMap((length, job) =>
    [1, 2, 3].map((index) => backlogged(`${length.mean} ms ${index}`, length, { job })))
  const { each, total } = run({ duration: 60_000, sources })
  return { worst: worst(each.map(({ ms }) => ms)), refused: total.refused }
}

/** Beside strangers at 3x that come once each, keys that return keep a part of the threads. */
function besideStrangers (run: Run, patience: number): Figures {
  const length = fixed(50)
  const { each, keys } = run({
    duration: 40_000,
    sources: [
      clients(5, length, { patience: 10_000 }),
      { length, rate: 3 * capacity(length, 2), keys: Infinity, key: 'stranger', patience }
    ]
  })
  return { share: each[0]!.useful, most: keys.most }
}

/** Invented keys, one for each job, beside a light key. */
function invented (run: Run, patience: number): Figures {
  const length = fixed(50)
  const { each, keys } = run({
    duration: 60_000,
    sources: [
      { length: fixed(1), job: 1, rate: 20, until: 55_000, key: 'light', patience: 5_000 },
      { length, rate: 6 * capacity(length, 2), until: 45_000, keys: Infinity, key: 'invented', patience }
    ]
  })
  return { served: each[0]!.served / each[0]!.arrived, most: keys.most, end: keys.end }
}

/** Each class gets of the threads by its weight, and the keys of a class the same. */
function priorities (run: Run, threads: number, each: number): Figures {
  const classes = [['high', 8], ['normal', 4], ['low', 1]] as const
  const { each: tallies, users } = run({
    threads,
    duration: 120_000,
    sources: classes.map(([priority]) => clients(each, fixed(50), { priority, key: priority }))
  })
  const weights = classes.reduce((sum, [, weight]) => sum + weight, 0)
  return {
    worst: Math.min(...classes.map((_, index) => worst(timesOf({ users }, index)))),
    shares: Math.min(...classes.map(([, weight], index) => tallies[index]!.useful / (weight / weights)))
  }
}

/** Long jobs capped at some of the threads beside short ones: the short ones hardly notice, and the cap is used. */
function capped (run: Run, threads: number, cap: number, patience: number): Figures {
  const short: Source = { length: fixed(5), rate: 30 * threads, key: 'short', patience: 5_000 }
  const long: Source = { length: fixed(1_000), job: 1, rate: 1.5 * cap, keys: 7, key: 'long', patience }
  const options = { threads, duration: 120_000, settings: { concurrency: [Infinity, cap] } }
  const alone = run({ ...options, sources: [short, { ...long, rate: 0 }] })
  const { each } = run({ ...options, sources: [short, long] })
  return { slower: each[0]!.p99 / alone.each[0]!.p99, refused: each[0]!.refused, used: each[1]!.useful * threads / cap }
}

/**
 * Clients of a name that may have half of the threads, beside clients of another name.
 *
 * @param each clients of each key
 */
function cappedShare (run: Run, cappedKeys: number, others: number, each: number, threads: number): Figures {
  const loop = (keys: number, key: string, job: number): Source =>
    ({ length: fixed(100), clients: keys * each, keys, key, job, spread: 200 })
  const { users, total } = run({
    threads,
    duration: 60_000,
    windows: [[10_000, 60_000]],
    settings: { concurrency: [Infinity, threads / 2] },
    sources: [loop(cappedKeys, 'capped', 1), loop(others, 'other', 0)]
  })
  // What the name may not have is the others'.
  const cappedFair = Math.min(1 / (cappedKeys + others), 0.5 / cappedKeys) * threads * 50_000
  const otherFair = (threads * 50_000 - cappedFair * cappedKeys) / others
  const share = (key: string, fair: number): number =>
    least(users.filter((user) => user.key.startsWith(key)).map(({ lately }) => lately)) * each / fair
  return { capped: share('capped', cappedFair), other: share('other', otherFair), refused: total.refused }
}

/** Light clients of a name that may have half of the threads. */
function cappedLight (run: Run, beside: Source[]): Figures {
  const light: Source = { length: fixed(20), job: 1, rate: 4, regular: true, key: 'light', until: 58_000 }
  const { each } = run({ duration: 60_000, settings: { concurrency: [Infinity, 1] }, sources: [light, ...beside] })
  return { served: each[0]!.served / each[0]!.arrived, longest: each[0]!.longest }
}

const fairlyCapped = { capped: { atLeast: 0.85 }, other: { atLeast: 0.9 }, refused: { atMost: 0 } }
const cappedAndLight = { served: { atLeast: 0.99 }, longest: { atMost: 1_500 } }

export const particular: Family = {
  name: 'particular',
  scenarios: [
    scenario('never measured, 12 clients, 2 threads', fair, (run) => {
      const result = run({ duration: 60_000, sources: [clients(12, fixed(300), { unmeasured: true })] })
      return { worst: worst(timesOf(result, 0)), refused: result.total.refused }
    }),
    scenario('never measured, 60 clients, 8 threads', fair, (run) => {
      const result = run({ threads: 8, duration: 60_000, sources: [clients(60, fixed(300), { unmeasured: true })] })
      return { worst: worst(timesOf(result, 0)), refused: result.total.refused }
    }),
    ...([[2, 10], [8, 40]] as const).map(([threads, each]) =>
      scenario(`priorities, ${each} clients each, ${threads} threads`,
        { worst: { atLeast: 0.85 }, shares: { atLeast: 0.9 } }, (run) => priorities(run, threads, each))),
    ...([[2, 1, 5_000], [8, 2, 5_000], [8, 4, 3_000]] as const).map(([threads, cap, patience]) =>
      scenario(`1 s jobs capped at ${cap} beside short ones, patience ${patience}, ${threads} threads`,
        { slower: { atMost: 2.5 }, refused: { atMost: 0 }, used: { atLeast: 0.75 } },
        (run) => capped(run, threads, cap, patience))),
    scenario('equal clients of a capped name, 8 threads', fair, (run) => {
      const sources = [clients(12, fixed(300), { job: 1 }), { length: fixed(5), rate: 100, key: 'short' }]
      const result = run({ threads: 8, duration: 60_000, settings: { concurrency: [Infinity, 2] }, sources })
      return { worst: worst(timesOf(result, 0)), refused: result.total.refused }
    }),
    ...([[5, 5, 1, 2], [5, 5, 3, 2], [2, 10, 5, 2], [5, 10, 5, 2], [20, 5, 1, 8], [10, 30, 2, 8]] as const).map(
      ([capped, others, each, threads]) => scenario(
        `${capped} keys of a capped name beside ${others}, ${each} clients each, ${threads} threads`,
        fairlyCapped, (run) => cappedShare(run, capped, others, each, threads))),
    scenario('a light key of a capped name beside a flood of it', cappedAndLight, (run) =>
      cappedLight(run, [{ length: fixed(300), job: 1, clients: 60, key: 'flood', retry: 1_000 }])),
    scenario('a light key of a capped name beside a flood of it and loops of another', cappedAndLight, (run) =>
      cappedLight(run, [
        { length: fixed(300), job: 1, clients: 60, key: 'flood', retry: 1_000 },
        { length: fixed(100), clients: 12, keys: 4, key: 'other' }
      ])),
    scenario('who floods a capped name has no claim on the threads later', { other: { atLeast: 0.7 } }, (run) => {
      const { windows } = run({
        duration: 40_000,
        windows: [[20_000, 24_000]],
        settings: { concurrency: [Infinity, 1] },
        sources: [
          { length: fixed(300), job: 1, clients: 30, keys: 3, key: 'flood', until: 20_000, end: 20_000 },
          { length: fixed(100), clients: 30, keys: 3, key: 'flood', from: 20_000 },
          { length: fixed(100), clients: 12, keys: 4, key: 'other' }
        ]
      })
      return { other: windows[0]!.each[2]!.useful / (4 / 7) }
    }),
    ...([[2, 6], [8, 24]] as const).map(([threads, each]) =>
      scenario(`unequal costs, ${threads} threads`, fair, (run) => unequalCosts(run, threads, each))),
    scenario('keys with backlogs of short and of long jobs', fair, backlogs),
    ...[12, 50].map((count) => scenario(`${count} clients that share a key`, fair, (run) => shared(run, count))),
    ...[1_000, 30_000].map((patience) => ({
      ...scenario(`returning keys beside strangers at 3x, patience ${patience}`,
        { share: { atLeast: 0.2 }, most: { atMost: 2_000 } }, (run) => besideStrangers(run, patience)),
      ...(patience > 10_000 && { excluded: NO_EVIDENCE })
    })),
    scenario('a liar: its jobs run 20 times as long as others of the name', honest, (run) => {
      const { each } = run({
        duration: 60_000,
        sources: [...sixOf(fixed(20)), backlogged('liar', fixed(400))]
      })
      return { worst: worst(each.slice(0, 6).map(({ ms }) => ms)), liar: each[6]!.useful * 7 }
    }),
    scenario('a key of short and long jobs beside keys of short ones', { worst: { atLeast: 0.85 } }, (run) => {
      const sources = [...sixOf(fixed(20)), backlogged('both', mix(0.5, fixed(20), fixed(300)))]
      const { each } = run({ duration: 60_000, sources })
      return { worst: worst(each.map(({ ms }) => ms)) }
    }),
    scenario('a key looks light and sends long jobs by the way', honest, (run) => {
      const looksLight = { length: mix(0.95, fixed(1), fixed(900)), rate: 60, key: 'liar' }
      const { each } = run({ duration: 60_000, sources: [...sixOf(fixed(300)), looksLight] })
      return { worst: worst(each.slice(0, 6).map(({ ms }) => ms)), liar: each[6]!.useful * 7 }
    }),
    ...[150, 30_000].map((patience) => ({
      ...scenario(`invented keys at 6x, patience ${patience}`,
        { served: { atLeast: 0.99 }, most: { atMost: 2_000 }, end: { atMost: 20 } }, (run) => invented(run, patience)),
      ...(patience > 10_000 && { excluded: NO_EVIDENCE })
    }))
  ],
  mean: {},
  every: 1
}
