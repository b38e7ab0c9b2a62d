// The bars of a pool under overload, in virtual time: the same admission and the same defaults for every row, two threads,
// Poisson arrivals, clients that give up and whose jobs keep their thread all the same. Seeded, so a failure is a change of the algorithm.
import t from 'tap'
import { exponential, fixed, mix, pareto, simulate, type Length, type Simulated, type SimulationOptions } from './simulation.ts'

const THREADS = 2
const seeds = [1, 2, 3]
const bimodal = mix(0.95, fixed(2), fixed(200))

/** Arrivals a second that keep the threads exactly busy. */
const capacity = (length: Length): number => THREADS * 1_000 / length.mean

interface Row {
  goodput: number
  worstGoodput: number
  p99: number
  refused: number
  useful: number
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length

/** Goodput ÷ capacity, the p99 of the served in ms, the share that was refused, and that of thread time which served someone: means over the seeds, and the worst. */
function row (length: Length, load: number, patience: number, options: Partial<SimulationOptions> = {}): Row {
  const runs = seeds.map((seed) => simulate({
    sources: [{ length, rate: load * capacity(length) }], seed, duration: 120_000, threads: THREADS, patience, ...options
  }).total)
  const goodputs = runs.map(({ rate }) => rate / capacity(length))
  return {
    goodput: mean(goodputs),
    worstGoodput: Math.min(...goodputs),
    p99: Math.max(...runs.map(({ p99 }) => p99)),
    refused: mean(runs.map(({ refused, arrived }) => refused / arrived)),
    useful: mean(runs.map(({ useful }) => useful))
  }
}

const show = ({ goodput, worstGoodput, p99, refused }: Row): string =>
  `goodput ${goodput.toFixed(3)} (worst ${worstGoodput.toFixed(3)}), p99 ${p99.toFixed(0)} ms, refused ${(100 * refused).toFixed(2)} %`

const bars: [name: string, length: Length, at1: number, overloaded: number, p99: number, impatient: number, duration: number][] = [
  ['10 ms', fixed(10), 0.96, 0.98, 120, 0.96, 60_000],
  ['200 ms', fixed(200), 0.90, 0.98, 800, NaN, 240_000],
  ['bimodal', bimodal, 0.87, 0.96, 700, 0.88, 240_000],
  ['1 ms', fixed(1), 0.96, 0.98, 120, 0.96, 12_000],
  ['50 ms', fixed(50), 0.94, 0.98, 200, 0.96, 120_000],
  ['exponential, 20 ms', exponential(20), 0.95, 0.98, 250, 0.96, 120_000],
  ['Pareto, 2 ms to 2 s', pareto(1.3, 2, 2_000), 0.90, 0.96, 300, 0.92, 120_000]
]

for (const [name, length, at1, overloaded, p99, impatient, duration] of bars) {
  t.test(`${name}: goodput at every load`, async (t) => {
    const light = row(length, 0.7, 1_000, { duration })
    t.ok(light.refused < 0.01, `at 0.7x: ${show(light)}`)
    const full = row(length, 1, 1_000, { duration })
    t.ok(full.goodput >= at1, `at 1x: ${show(full)}`)
    for (const load of [2, 6]) {
      const over = row(length, load, 1_000, { duration })
      t.ok(over.goodput >= overloaded, `at ${load}x: ${show(over)}`)
      if (load === 6) t.ok(over.p99 <= p99, `at 6x: ${show(over)}`)
    }
  })

  if (!Number.isNaN(impatient)) {
    t.test(`${name}: clients with 300 ms of patience`, async (t) => {
      for (const load of [2, 6]) {
        const over = row(length, load, 300, { duration })
        t.ok(over.goodput >= impatient, `at ${load}x: ${show(over)}`)
      }
    })
  }
}

t.test('threads that are asked for more than they can do are busy, also if lengths differ', async (t) => {
  for (const load of [1.5, 2]) {
    const { useful } = row(bimodal, load, 1_000, { duration: 240_000 })
    t.ok(useful >= 0.984, `bimodal at ${load}x: ${useful.toFixed(4)} of their time`)
  }
})

t.test('jobs nearly as long as their clients wait', async (t) => {
  for (const load of [2, 6]) {
    const over = row(fixed(500), load, 1_000, { duration: 240_000 })
    t.ok(over.goodput >= 0.94, `500 ms at ${load}x, 1 s of patience: ${show(over)}`)
  }
  const long = row(fixed(2_000), 6, 6_000, { duration: 240_000, warmUp: 10_000 })
  t.ok(long.goodput >= 0.96, `2 s at 6x, 6 s of patience: ${show(long)}`)
  const impatient = row(fixed(200), 6, 300, { duration: 240_000 })
  t.ok(impatient.goodput >= 0.95, `200 ms at 6x, 300 ms of patience: ${show(impatient)}`)
})

t.test('the first 2 s of a sudden overload from idle', async (t) => {
  const many = Array.from({ length: 20 }, (_, index) => index + 1)
  const sudden = (length: Length, load: number, patience: number): number => mean(many.map((seed) => simulate({
    sources: [{ length, rate: load * capacity(length) }], seed, duration: 2_000, patience
  }).total.rate / capacity(length)))
  for (const load of [1.5, 2, 6]) {
    for (const [patience, bar] of [[1_000, 0.97], [300, 0.88]] as const) {
      const goodput = sudden(fixed(10), load, patience)
      t.ok(goodput >= bar, `10 ms at ${load}x, ${patience} ms of patience: ${goodput.toFixed(3)}`)
      const mixed = sudden(bimodal, load, patience)
      t.ok(mixed >= 0.88, `bimodal at ${load}x, ${patience} ms of patience: ${mixed.toFixed(3)}`)
    }
  }
})

t.test('clients that end their job as they leave', async (t) => {
  for (const [name, length] of [['10 ms', fixed(10)], ['200 ms', fixed(200)], ['bimodal', bimodal]] as const) {
    const over = row(length, 6, 1_000, { cooperative: true, duration: 120_000 })
    t.ok(over.goodput >= 0.96, `${name} at 6x: ${show(over)}`)
  }
})

t.test('a few impatient clients do not decide for the others', async (t) => {
  // One in fifty leaves after 150 ms: the room that a burst has stays what it was for the rest.
  const refused = seeds.map((seed) => simulate({
    sources: [
      { length: fixed(10), rate: 196 },
      { length: fixed(10), rate: 4, patience: 150 },
      { length: fixed(10), rate: 0, burst: 60, from: 20_000 }
    ],
    seed,
    duration: 22_000
  }).each[2]!.refused)
  t.ok(refused.reduce((sum, count) => sum + count) <= 18, `${refused.join(', ')} of 60 refused in a burst at full load`)
})

t.test('two names, short and long, in place of one that is both', async (t) => {
  for (const load of [1, 2, 6]) {
    const runs = seeds.map((seed) => simulate({
      sources: [
        { job: 0, length: fixed(2), rate: 0.95 * load * capacity(bimodal) },
        { job: 1, length: fixed(200), rate: 0.05 * load * capacity(bimodal) }
      ],
      seed,
      duration: 240_000,
      patience: 1_000
    }))
    const goodput = mean(runs.map(({ total }) => total.rate / capacity(bimodal)))
    t.ok(goodput >= (load === 1 ? 0.9 : 0.96), `goodput at ${load}x: ${goodput.toFixed(3)}`)
    for (const { each: [short, long] } of runs) {
      const shares = [short!, long!].map(({ served, arrived }) => served / arrived)
      t.ok(shares[1]! > 0.7 * shares[0]!, `neither name is served at the other's cost at ${load}x: ${shares.map((share) => share.toFixed(3)).join(' and ')}`)
    }
  }
})

t.test('many clients, each with its own key', async (t) => {
  for (const keys of [5, 100, 5_000]) {
    const over = row(fixed(10), 6, 1_000, {
      sources: Array.from({ length: keys }, (_, index) => ({ length: fixed(10), rate: 6 * capacity(fixed(10)) / keys, key: `client-${index}` })),
      duration: 30_000
    })
    t.ok(over.goodput >= 0.98 && over.p99 <= 200, `${keys} keys at 6x: ${show(over)}`)
  }
})

t.test('one key at 10 times its share beside nine at half of theirs', async (t) => {
  const light = (length: Length) => Array.from({ length: 9 }, (_, index) => ({ length, rate: capacity(length) / 20, key: `light-${index}` }))
  const ofNine = ({ each }: Simulated): { loss: number, p99: number } => {
    const nine = each.slice(0, 9)
    return {
      loss: 1 - nine.reduce((sum, { served }) => sum + served, 0) / nine.reduce((sum, { arrived }) => sum + arrived, 0),
      p99: mean(nine.map(({ p99 }) => p99))
    }
  }
  for (const [name, length, bar] of [['2 ms', fixed(2), 0.01], ['10 ms', fixed(10), 0.01], ['50 ms', fixed(50), 0.015], ['bimodal', bimodal, 0.04]] as const) {
    for (const seed of seeds) {
      const options = { seed, duration: 120_000, patience: 1_000 }
      const alone = ofNine(simulate({ ...options, sources: light(length) }))
      const beside = ofNine(simulate({ ...options, sources: [...light(length), { length, rate: capacity(length), key: 'heavy' }] }))
      t.ok(beside.loss < bar, `${name}: the nine lose ${(100 * beside.loss).toFixed(2)} %`)
      t.ok(beside.p99 / alone.p99 <= 2, `${name}: their p99 ÷ alone is ${(beside.p99 / alone.p99).toFixed(2)}`)
    }
  }
})

t.test('one-second jobs capped at one beside short ones', async (t) => {
  const short = { job: 0, length: fixed(5), rate: 60 }
  const alone = mean(seeds.map((seed) => simulate({ sources: [short], seed, duration: 300_000 }).total.p99))
  const beside = seeds.map((seed) => simulate({
    sources: [short, { job: 1, length: fixed(1_000), rate: 0.9 }],
    seed,
    duration: 300_000,
    settings: { concurrency: [Infinity, 1] }
  }))
  const p99 = mean(beside.map(({ each }) => each[0]!.p99))
  t.ok(p99 / alone <= 2, `p99 of the short ones ÷ alone: ${(p99 / alone).toFixed(2)}`)
  for (const { each } of beside) t.equal(each[0]!.refused, 0, 'no short one is refused: the capped ones do not make the queue stand')
})

t.test('what waits for its own cap does not lengthen the wait of the others', async (t) => {
  const { each: [free, capped] } = simulate({
    sources: [{ job: 0, length: fixed(10), rate: 1_200 }, { job: 1, length: fixed(1), rate: 3_000, key: 'other' }],
    seed: 1,
    duration: 30_000,
    patience: 1_000,
    settings: { concurrency: [Infinity, 1] }
  })
  t.ok(free!.p99 <= 150, `p99 of the others: ${free!.p99.toFixed(0)} ms`)
  t.ok(free!.served > 0 && capped!.served > 0, `${free!.served} and ${capped!.served} served`)
})

t.test('a burst from idle is served whole', async (t) => {
  const burst = simulate({ sources: [{ length: fixed(10), rate: 0, burst: 60 }], seed: 1, duration: 2_000 }).total
  t.equal(burst.refused, 0)
  t.equal(burst.served, 60)
  const known = simulate({
    sources: [{ length: fixed(10), rate: 10 }, { length: fixed(10), rate: 0, burst: 60, from: 5_000 }, { length: fixed(10), rate: 0, burst: 60, from: 6_000 }],
    seed: 1,
    duration: 8_000
  }).total
  t.equal(known.refused, 0, 'also once the run time is known, and twice')
})
