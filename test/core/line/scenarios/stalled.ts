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

const stalls = { every: 1_000, most: 300 }

/** Some scenarios of a family, with stalls. */
function stalled (family: Family, step: number, bars: Record<string, Bar>, each: Record<string, Bar>, every: number): Family {
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
    scenarios: family.scenarios.filter((_, index) => index % step === 0).map(({ name, figures }) => ({ name: `${name}, stalled`, figures: (run) => figures(stall(run)) })),
    mean: bars,
    each,
    every
  }
}

const whole = { kept: { atLeast: 0.95 }, after: { atLeast: 0.97 } }
const goodput = (bar: number): Record<string, Bar> => ({ goodput: { atLeast: bar } })

export const stalledFamilies: readonly Family[] = [
  stalled(equal, 8, { worst: { atLeast: 0.9 }, refused: { atMost: 0 } }, { worst: { atLeast: 0.85 }, refused: { atMost: 0 } }, 2),
  stalled(light, 6, { served: { atLeast: 0.99 }, p99: { atMost: 3 } }, { served: { atLeast: 0.99 }, p99: { atMost: 8 } }, 2),
  stalled(oneHostile, 4, whole, { kept: { atLeast: 0.9 }, after: { atLeast: 0.9 } }, 2),
  stalled(oneHostileOverload, 3, { kept: { atLeast: 0.8 }, after: { atLeast: 0.97 } }, { kept: { atLeast: 0.7 }, after: { atLeast: 0.9 } }, 1),
  stalled({ ...isolatedBursts, scenarios: isolatedBursts.scenarios.filter(isShort) }, 3, { lost: { atMost: 0.01 } }, { lost: { atMost: 0.02 } }, 2),
  ...suddenOverloads.map((family) => stalled(family, 5, goodput(0.8), goodput(0.6), 2)),
  ...steadyOverloads.map((family, index) => stalled(family, 6, index === 0 ? { lost: { atMost: 0.15 } } : goodput(0.8), index === 0 ? { lost: { atMost: 0.25 } } : goodput(0.6), 3))
]
