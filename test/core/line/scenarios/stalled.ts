/**
 * An event loop that stalls for up to 300 ms about once a second: the admission isn't called meanwhile, and then
 * everything comes at once. Threads that finish during a stall wait for the end of it, so what is asked is less than
 * of a loop that runs.
 */
import type { SimulationOptions } from '../simulation.ts'
import { isolatedBursts, isShort } from './bursts.ts'
import { equal } from './equal.ts'
import { oneHostile, oneHostileOverload } from './hostile.ts'
import { light } from './light.ts'
import { steadyOverloads, suddenOverloads } from './overloads.ts'
import type { Bar, Family, Run } from './scenario.ts'

type Bars = Record<string, Bar>

const stalls = { every: 1_000, most: 300 }

/** Some scenarios of a family, with stalls. */
function stalled (family: Family, step: number, bars: Bars, each: Bars, every: number): Family {
  const runs = new WeakMap<Run, Run>()
  /** The same run for the same argument, since some families keep what they have computed of a run. */
  function stall (run: Run): Run {
    const known = runs.get(run)
    if (known !== undefined) return known
    const stalling: Run = (options: Omit<SimulationOptions, 'seed'>) => run({ ...options, stalls })
    runs.set(run, stalling)
    return stalling
  }
  return {
    name: `stalled: ${family.name}`,
    scenarios: family.scenarios.filter((_, index) => index % step === 0)
      .map(({ name, figures }) => ({ name: `${name}, stalled`, figures: (run) => figures(stall(run)) })),
    mean: bars,
    each,
    every
  }
}

const fair = (bar: number): Bars => ({ worst: { atLeast: bar }, refused: { atMost: 0 } })
const served = (bar: number): Bars => ({ served: { atLeast: 0.99 }, p99: { atMost: bar } })
const kept = (during: number, after: number): Bars => ({ kept: { atLeast: during }, after: { atLeast: after } })
const lost = (bar: number): Bars => ({ lost: { atMost: bar } })
const goodput = (bar: number): Bars => ({ goodput: { atLeast: bar } })
const [underload, ...overloads] = steadyOverloads

export const stalledFamilies: readonly Family[] = [
  stalled(equal, 8, fair(0.9), fair(0.85), 2),
  stalled(light, 6, served(3), served(8), 2),
  stalled(oneHostile, 4, kept(0.95, 0.97), kept(0.9, 0.9), 2),
  stalled(oneHostileOverload, 3, kept(0.8, 0.97), kept(0.7, 0.9), 1),
  stalled({ ...isolatedBursts, scenarios: isolatedBursts.scenarios.filter(isShort) }, 3, lost(0.01), lost(0.02), 2),
  ...suddenOverloads.map((family) => stalled(family, 5, goodput(0.8), goodput(0.6), 2)),
  stalled(underload!, 6, lost(0.15), lost(0.25), 3),
  ...overloads.map((family) => stalled(family, 6, goodput(0.8), goodput(0.6), 3))
]
