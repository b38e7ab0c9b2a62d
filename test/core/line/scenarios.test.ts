// What admission promises to equal, light, honest and bursting clients, in virtual time: the mean of each family of
// scenarios meets its bars. `npm test` runs some scenarios of each family; FC_SCENARIOS=all runs all of them.
// FC_SEEDS=3 takes three seeds, and FC_SEED=17 begins with another one; FC_SEED=fresh takes one that nobody has
// tried. A run is seeded, so a failure is a change of the algorithm.
import t from 'tap'
import { families } from './scenarios/index.ts'
import { mean, meets, misses, runOf, type Family, type Figures, type Scenario } from './scenarios/scenario.ts'

const { FC_SCENARIOS = 'some', FC_SEED = '1', FC_SEEDS = '1' } = process.env
const first = FC_SEED === 'fresh' ? Math.floor(performance.timeOrigin) % 1_000_000 : Number(FC_SEED)
const seeds = Array.from({ length: Number(FC_SEEDS) }, (_, index) => first + index)
const scenariosOf = ({ scenarios, every }: Family): Scenario[] =>
  scenarios.filter((_, index) => FC_SCENARIOS === 'all' || index % every === 0)

t.setTimeout(0)
t.comment(`seeds ${seeds.join(', ')}`)

for (const family of families) {
  t.test(family.name, async (t) => {
    const figures = new Map<string, Figures>()
    for (const seed of seeds) {
      const run = runOf(seed)
      for (const scenario of scenariosOf(family)) {
        const taken = scenario.figures(run)
        figures.set(`${scenario.name}, seed ${seed}`, taken)
        // A scenario with bars of its own is the only one of its kind.
        if (scenario.bars === undefined) continue
        const missed = misses(family, scenario, taken)
        if (scenario.excluded === undefined) t.same(missed, [], scenario.name)
        else t.comment(`${scenario.name}: ${missed.join(', ')}: ${scenario.excluded}`)
      }
    }
    for (const [what, bar] of Object.entries(family.mean)) {
      const value = mean([...figures.values()].map((taken) => taken[what] ?? NaN))
      const expected = bar.atLeast === undefined ? `at most ${bar.atMost}` : `at least ${bar.atLeast}`
      const message = `${what}: ${value.toFixed(4)}, ${expected}, the mean of ${figures.size}`
      t.ok(meets(value, bar), message, { figures: Object.fromEntries(figures) })
    }
  })
}

t.test('a scenario is the same each time it is run with the same seed', async (t) => {
  for (const { scenarios } of families) {
    const scenario = scenarios[0]!
    t.same(scenario.figures(runOf(7)), scenario.figures(runOf(7)), scenario.name)
  }
})
