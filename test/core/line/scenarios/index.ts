/** All families of scenarios. */
import { isolatedBursts } from './bursts.ts'
import { equal, equalImpatient, unequal, unequalCosts, unequalLong } from './equal.ts'
import { oneHostile, oneHostileOverload, threeHostile, threeHostileOverload } from './hostile.ts'
import { afterwards, misled, onceHeavy } from './lasting.ts'
import { lateOverload } from './late.ts'
import { coldStarts, light, lightOfOneName, newcomers } from './light.ts'
import { steadyOverloads, suddenOverloads } from './overloads.ts'
import { particular } from './particular.ts'
import type { Family } from './scenario.ts'
import { stalledFamilies } from './stalled.ts'

export const families: readonly Family[] = [
  equal, unequal, unequalLong, unequalCosts, equalImpatient, light, lightOfOneName, newcomers, coldStarts,
  oneHostile, oneHostileOverload, threeHostile, threeHostileOverload, isolatedBursts,
  afterwards, onceHeavy, misled,
  ...suddenOverloads, ...steadyOverloads, lateOverload, particular, ...stalledFamilies
]
