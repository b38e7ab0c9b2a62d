// What admission promises, in virtual time: the defaults of every pool, two threads, Poisson arrivals, and clients that give up while their jobs keep their
// thread. Each bar is for the mean of all its scenarios and seeds. A run is seeded, so a failure is a change of the algorithm. FC_SEEDS=20 gives the means
// of 20 seeds, which the bars were chosen for.
import t, { type Test } from 'tap'
import { exponential, fixed, mix, pareto, simulate, type Outcome, type RunTime, type Simulated, type SimulationOptions, type Source } from './simulation.ts'

const THREADS = 2
const seeds = Array.from({ length: Number(process.env['FC_SEEDS'] ?? 2) }, (_, index) => index + 1)

const runTimes = { '2 ms': fixed(2), '10 ms': fixed(10), '200 ms': fixed(200), '1 s': fixed(1_000), mixed: mix(0.95, fixed(2), fixed(200)), exponential: exponential(50) } as const
type Name = keyof typeof runTimes
const names = Object.keys(runTimes) as Name[]

/** Arrivals a second that keep the threads exactly busy. */
const capacity = (runTime: RunTime, threads = THREADS): number => threads * 1_000 / runTime.mean
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
const share = (outcomes: readonly Outcome[], what: 'refused' | 'served' | 'left'): number =>
  outcomes.reduce((sum, outcome) => sum + outcome[what], 0) / outcomes.reduce((sum, { arrived }) => sum + arrived, 0)

/** A stream of requests, divided between `keys`. */
const stream = (runTime: RunTime, rate: number, keys = 1, more: Partial<Source> = {}): Source[] =>
  Array.from({ length: keys }, (_, index) => ({ length: runTime, rate: rate / keys, key: `key ${index}`, ...more }))

/** Two jobs by which the pool learns how long a job runs, and a burst of `work` ms later on. */
function burst (runTime: RunTime, work: number, keys: number, from: number): Source[] {
  const count = Math.round(work / runTime.mean)
  const bursting = Math.min(keys, count)
  return [
    { length: runTime, rate: 0, burst: 2, key: 'first' },
    ...Array.from({ length: bursting }, (_, index) => ({
      length: runTime, rate: 0, burst: Math.floor((count + index) / bursting), from, key: `burst ${index}`, patience: 30_000
    }))
  ]
}

/** The mean of a figure over the seeds. A row that isn't a number has nothing to measure. */
function over (figure: (seed: number) => number): number {
  return mean(seeds.map(figure))
}

function atLeast (t: Test, what: string, figures: ReadonlyMap<string, number>, bar: number): void {
  const value = mean([...figures.values()])
  t.ok(value >= bar, `${what}: ${value.toFixed(4)}, at least ${bar}`, { figures: Object.fromEntries(figures) })
}

function atMost (t: Test, what: string, figures: ReadonlyMap<string, number>, bar: number): void {
  const value = mean([...figures.values()])
  t.ok(value <= bar, `${what}: ${value.toFixed(4)}, at most ${bar}`, { figures: Object.fromEntries(figures) })
}

/** A figure for each of the rows. */
function figures<Row> (rows: readonly Row[], figure: (row: Row, seed: number) => number): Map<string, number> {
  return new Map(rows.map((row) => [JSON.stringify(row), over((seed) => figure(row, seed))]))
}

const run = (options: Partial<SimulationOptions> & Pick<SimulationOptions, 'sources' | 'seed' | 'duration'>): Simulated => simulate({ threads: THREADS, ...options })

const works = [500, 1_000, 2_000, 5_000, 8_000, 10_000]
const bursts = names.flatMap((name) => works.flatMap((work) => [1, 7].map((keys) => [name, work, keys] as const)))
  // Fewer than maxQueue, and more than one job.
  .filter(([name, work]) => work / runTimes[name].mean <= 1_000 && work > runTimes[name].mean)

t.test('a burst on an idle pool is served whole', async (t) => {
  const refused = figures(bursts, ([name, work, keys], seed) =>
    share(run({ sources: burst(runTimes[name], work, keys, 5_000), seed, duration: 5_000 + work }).each.slice(1), 'refused'))
  atMost(t, 'refused', refused, 0)
  const eight = figures(['10 ms', '200 ms'] as const, (name, seed) =>
    run({ threads: 8, sources: burst(runTimes[name], 9_000, 7, 5_000), seed, duration: 20_000 }).total.refused)
  atMost(t, 'refused with 8 threads', eight, 0)
})

t.test('a burst on a pool that is half busy is served, and the others hardly notice', async (t) => {
  const lost = new Map<string, number>()
  const refused = figures(bursts, ([name, work, keys], seed) => {
    const runTime = runTimes[name]
    const background = { length: runTime, rate: capacity(runTime) / 2, key: 'background', patience: 5_000, until: 5_000 + work }
    const { each } = run({ sources: [background, ...burst(runTime, work, keys, 5_000)], seed, duration: 5_000 + 3 * work })
    const { arrived, refused, left } = each[0]!
    lost.set(JSON.stringify([name, work, keys, seed]), (refused + left) / arrived)
    return share(each.slice(2), 'refused')
  })
  atMost(t, 'refused', refused, 0.02)
  atMost(t, 'what the others lose', lost, 0.02)
})

t.test('a burst that a tenth of its clients leave is served to the others', async (t) => {
  const rows = bursts.filter(([name, work]) => work <= 8_000 && work / runTimes[name].mean > 10)
  atMost(t, 'refused', figures(rows, ([name, work, keys], seed) => {
    const sources = burst(runTimes[name], 0.9 * work, keys, 5_000)
    const leaving = burst(runTimes[name], work / 10, keys, 5_000).slice(1).map((source) => ({ ...source, patience: 500 }))
    return share(run({ sources: [...sources, ...leaving], seed, duration: 5_000 + work }).each.slice(1, sources.length), 'refused')
  }), 0)
})

t.test('a burst every five seconds is served', async (t) => {
  const rows = (['10 ms', '200 ms', 'mixed', 'exponential'] as const).flatMap((name) => [1, 7].map((keys) => [name, keys] as const))
  atMost(t, 'refused', figures(rows, ([name, keys], seed) => {
    const sources = Array.from({ length: keys }, (_, index) => ({
      length: runTimes[name], rate: 0, burst: Math.round(6_000 / runTimes[name].mean / keys), from: 1, every: 5_000, key: `key ${index}`, patience: 30_000
    }))
    return share([run({ sources, seed, duration: 30_000 }).total], 'refused')
  }), 0.005)
})

t.test('the first seconds of a sudden overload', async (t) => {
  // A job isn't refused at its turn before it has waited for two runs, so of a mix of 2 and 200 ms under one name, whose clients leave after 0.3 s, half
  // is lost at first. With one run, light jobs beside long ones would be refused in vain.
  for (const [patience, bar] of [[300, 0.81], [1_000, 0.92], [3_000, 0.94], [30_000, 0.94]] as const) {
    const rows = (['2 ms', '10 ms', '200 ms', 'mixed'] as const).flatMap((name) => [1.2, 2, 6].flatMap((load) => [1, 200].map((keys) => [name, load, keys] as const)))
      // Of clients that wait hardly longer than a job runs, most get nothing whoever is admitted.
      .filter(([name]) => name !== '200 ms' || patience > 300)
    atLeast(t, `useful at a patience of ${patience} ms`, figures(rows, ([name, load, keys], seed) => {
      const runTime = runTimes[name]
      const sources = [{ length: runTime, rate: 0, burst: 2, key: 'first' }, ...stream(runTime, load * capacity(runTime), keys, { from: 1_000 })]
      const { useful } = run({ sources, seed, duration: 6_000, patience }).total
      return (useful * 6_000 - runTime.mean) / 5_000
    }), bar)
  }
})

t.test('few clients wait in vain in the first five seconds of a sudden overload', async (t) => {
  const rows = (['10 ms', '200 ms', 'mixed'] as const).flatMap((name) => [2, 4, 6].flatMap((load) => [1, 200].map((keys) => [name, load, keys] as const)))
  atMost(t, 'in vain for more than 500 ms', figures(rows, ([name, load, keys], seed) => {
    const runTime = runTimes[name]
    const sources = [{ length: runTime, rate: 0, burst: 2, key: 'first' }, ...stream(runTime, load * capacity(runTime), keys, { from: 1_000 })]
    return run({ sources, seed, duration: 6_000, patience: 1_000 }).total.inVain
  }), 0.25)
})

t.test('the first twelve seconds of 6 times what two threads can do', async (t) => {
  for (const [patience, bar] of [[300, 0.98], [1_000, 0.98], [30_000, 0.98]] as const) {
    atLeast(t, `useful at a patience of ${patience} ms`, figures([1, 200], (keys, seed) =>
      run({ sources: stream(runTimes['10 ms'], 6 * capacity(runTimes['10 ms']), keys), seed, duration: 12_000, patience }).total.useful), bar)
  }
})

t.test('sustained overload', async (t) => {
  const patiences = { '2 ms': [300, 1_000, 3_000], '10 ms': [300, 1_000, 3_000], '200 ms': [1_000, 3_000], '1 s': [3_000], mixed: [1_000, 3_000], exponential: [300, 1_000, 3_000] }
  const rows = names.flatMap((name) => patiences[name].flatMap((patience) => [1, 200].map((keys) => [name, patience, keys] as const)))
  for (const [load, bar] of [[1.2, 0.94], [2, 0.96], [6, 0.975]] as const) {
    atLeast(t, `useful at ${load}x`, figures(rows, ([name, patience, keys], seed) => {
      const runTime = runTimes[name]
      return run({ sources: stream(runTime, load * capacity(runTime), keys), seed, duration: name === '2 ms' ? 10_000 : 40_000, patience }).total.useful
    }), bar)
  }
})

t.test('sustained overload: who is served is served fast', async (t) => {
  for (const [name, bar] of [['10 ms', 120], ['200 ms', 700], ['mixed', 430]] as const) {
    const runTime = runTimes[name]
    atMost(t, `p99 at 6x, ${name}`, figures([1, 5, 10, 20, 200], (keys, seed) =>
      run({ sources: stream(runTime, 6 * capacity(runTime), keys), seed, duration: 40_000, patience: 1_000, warmUp: 10_000 }).total.p99), bar)
  }
})

t.test('heavy keys beside nine light ones', async (t) => {
  const rows = (['2 ms', '10 ms', '200 ms', 'mixed'] as const).flatMap((name) => [1_000, 3_000].map((patience) => [name, patience] as const))
  const light = (runTime: RunTime): Source[] => stream(runTime, 9 * capacity(runTime) / 20, 9)
  const lost = (each: readonly Outcome[]): number => share(each.slice(0, 9), 'refused') + share(each.slice(0, 9), 'left')
  const slowed = new Map<string, number>()
  for (const [heavy, bar] of [[1, 0.005], [3, 0.01]] as const) {
    atMost(t, `what the light ones lose beside ${heavy}`, figures(rows, ([name, patience], seed) => {
      const runTime = runTimes[name]
      const duration = name === '2 ms' ? 20_000 : 60_000
      const others = Array.from({ length: heavy }, (_, index) => ({ length: runTime, rate: capacity(runTime), key: `heavy ${index}` }))
      const { each } = run({ sources: [...light(runTime), ...others], seed, duration, patience })
      if (heavy === 1) {
        const alone = run({ sources: light(runTime), seed, duration, patience }).each
        slowed.set(JSON.stringify([name, patience, seed]), mean(each.slice(0, 9).map(({ p99 }) => p99)) / mean(alone.map(({ p99 }) => p99)))
      }
      return lost(each)
    }), bar)
  }
  atMost(t, 'p99 of the light ones ÷ alone, beside one', slowed, 2)
})

t.test('a page of many requests beside a heavy key is served whole', async (t) => {
  const rows = [10, 100].flatMap((ms) => [300, 1_000, 3_000, 30_000].map((patience) => [ms, patience] as const))
  atMost(t, 'refused', figures(rows, ([ms, patience], seed) => run({
    sources: [{ length: fixed(ms), rate: 12_000 / ms, key: 'heavy', patience }, { length: fixed(ms), rate: 0, burst: 3_000 / ms, from: 10_000, key: 'page', patience: 30_000 }],
    seed,
    duration: 30_000
  }).each[1]!.refused), 0)
})

t.test('nothing is refused without an overload', async (t) => {
  const rows = names.flatMap((name) => [1, 200].map((keys) => [name, keys] as const))
  for (const [load, bar] of [[0.7, 0.002], [0.9, 0.01]] as const) {
    atMost(t, `refused at ${load}x`, figures(rows, ([name, keys], seed) =>
      share([run({ sources: stream(runTimes[name], load * capacity(runTimes[name]), keys), seed, duration: name === '2 ms' ? 20_000 : 60_000, patience: 30_000 }).total], 'refused')), bar)
  }
})

t.test('load that grows, deadlines, unequal run times, eight threads', async (t) => {
  const ramp = figures(['10 ms', '200 ms', 'mixed'] as const, (name, seed) => {
    const runTime = runTimes[name]
    const sources = Array.from({ length: 11 }, (_, step) => ({ length: runTime, rate: (0.5 + step / 4) * capacity(runTime), from: step * 3_000, until: (step + 1) * 3_000 }))
    // 0.5 and 0.75 of the capacity were offered in two of eleven steps.
    return run({ sources, seed, duration: 33_000, patience: 1_000 }).total.useful
  })
  atLeast(t, 'useful while the load grows from 0.5x to 3x', ramp, 0.87)
  const deadlines = figures(['10 ms', '200 ms', 'mixed'] as const, (name, seed) =>
    run({ sources: stream(runTimes[name], 2 * capacity(runTimes[name]), 1, { deadline: 500 }), seed, duration: 40_000, patience: 500 }).total.useful)
  atLeast(t, 'useful at 2x with deadlines of 500 ms', deadlines, 0.94)
  const heavyTailed = pareto(1.3, 2, 2_000)
  const unequal = figures([[2, 300], [2, 1_000], [6, 300], [6, 1_000]] as const, ([load, patience], seed) =>
    run({ sources: stream(heavyTailed, load * capacity(heavyTailed)), seed, duration: 40_000, patience }).total.useful)
  atLeast(t, 'useful with run times of 2 ms to 2 s', unequal, 0.88)
  const eight = figures(['10 ms', '200 ms', 'mixed'] as const, (name, seed) =>
    run({ threads: 8, sources: stream(runTimes[name], 6 * capacity(runTimes[name], 8)), seed, duration: 20_000, patience: 1_000 }).total.useful)
  atLeast(t, 'useful at 6x with 8 threads', eight, 0.97)
})

t.test('clients that end their job as they leave', async (t) => {
  atLeast(t, 'useful at 6x', figures(['10 ms', '200 ms', 'mixed'] as const, (name, seed) =>
    run({ sources: stream(runTimes[name], 6 * capacity(runTimes[name])), seed, duration: 40_000, patience: 1_000, cooperative: true }).total.useful), 0.96)
})

t.test('two names, short and long, in place of one that is both', async (t) => {
  const full = capacity(runTimes.mixed)
  for (const load of [1, 2, 6]) {
    const runs = seeds.map((seed) => run({
      sources: [{ job: 0, length: fixed(2), rate: 0.95 * load * full }, { job: 1, length: fixed(200), rate: 0.05 * load * full }], seed, duration: 80_000, patience: 1_000
    }))
    const useful = mean(runs.map(({ total }) => total.useful))
    t.ok(useful >= (load === 1 ? 0.88 : 0.95), `useful at ${load}x: ${useful.toFixed(3)}`)
    for (const { each: [short, long] } of runs) t.ok(share([long!], 'served') > 0.7 * share([short!], 'served'), `neither name is served at the other's cost at ${load}x`)
  }
})

t.test('one-second jobs capped at one beside short ones', async (t) => {
  const short = { job: 0, length: fixed(5), rate: 60 }
  const runs = seeds.map((seed) => ({
    alone: run({ sources: [short], seed, duration: 120_000 }).total,
    beside: run({ sources: [short, { job: 1, length: fixed(1_000), rate: 1.5, patience: 5_000 }], seed, duration: 120_000, settings: { concurrency: [Infinity, 1] } }).each
  }))
  const ratio = mean(runs.map(({ alone, beside }) => beside[0]!.p99 / alone.p99))
  t.ok(ratio <= 2, `p99 of the short ones ÷ alone: ${ratio.toFixed(2)}`)
  for (const { beside } of runs) {
    t.equal(beside[0]!.refused, 0, 'no short one is refused: what waits for its own cap is not the overload of others')
    t.ok(beside[1]!.served >= 90, `${beside[1]!.served} of 120 that the cap allows`)
  }
})
