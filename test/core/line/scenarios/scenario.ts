/** What a scenario is: a load in virtual time, the figures that are taken of it, and the bars that they are held to. */
import { drifting, exponential, fixed, mix, type RunTime } from '../random.ts'
import { simulate, type AdmissionModule, type Simulated, type SimulationOptions, type Source } from '../simulation.ts'

export type Figures = Record<string, number>

/** One simulated run of a load, under the rule that is examined. */
export type Run = (options: Omit<SimulationOptions, 'seed' | 'admission'>) => Simulated

export interface Scenario {
  name: string
  figures (run: Run): Figures
  /** Some scenarios have other bars than their family. */
  bars?: Record<string, Bar>
  /** Why the scenario misses its bars under the rule that we have. */
  excluded?: string
}

/** A figure is held to a bar from below or from above. */
export interface Bar {
  atLeast?: number
  atMost?: number
}

export interface Family {
  name: string
  scenarios: Scenario[]
  /** For the mean of all scenarios. */
  mean: Record<string, Bar>
  /** For each scenario. @default those for the mean */
  each?: Record<string, Bar>
  /** `npm test` takes every so manieth scenario. */
  every: number
}

export function meets (value: number, { atLeast = -Infinity, atMost = Infinity }: Bar): boolean {
  return value >= atLeast && value <= atMost
}

/**
 * The bars that a scenario misses, in words. A figure that is not a number had nothing to measure, which is a miss as
 * well.
 */
export function misses ({ mean, each = mean }: Family, { bars = {} }: Scenario, figures: Figures): string[] {
  return Object.entries({ ...each, ...bars }).flatMap(([what, bar]) => {
    const value = figures[what] ?? NaN
    return meets(value, bar) ? [] : [`${what} ${value.toFixed(3)}`]
  })
}

export function runOf (seed: number, admission?: AdmissionModule): Run {
  return (options) => simulate({ ...options, seed, ...(admission !== undefined && { admission }) })
}

export const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
export const least = (values: readonly number[]): number => values.reduce((a, b) => Math.min(a, b), Infinity)
export const most = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b), -Infinity)

/** The product of several lists. */
export function product<A extends readonly unknown[]> (...lists: { [I in keyof A]: readonly A[I][] }): A[] {
  const extend = (rows: unknown[][], list: readonly unknown[]): unknown[][] =>
    rows.flatMap((row) => list.map((value) => [...row, value]))
  return (lists as readonly (readonly unknown[])[]).reduce(extend, [[]]) as unknown as A[]
}

/** Arrivals a second that keep the threads exactly busy. */
export const capacity = (runTime: RunTime, threads: number): number => threads * 1_000 / runTime.mean

/** A Poisson stream of jobs of `ms`, of `load` times what the threads can do. */
export const stream = (load: number, ms: number, threads: number, more: Partial<Source>): Source =>
  ({ length: fixed(ms), rate: load * capacity(fixed(ms), threads), key: 'key', ...more })

export const runTimes = {
  '10 ms': fixed(10),
  '50 ms': fixed(50),
  '200 ms': fixed(200),
  '2/200 ms': mix(0.95, fixed(2), fixed(200)),
  exponential: exponential(50),
  drifting: drifting(20, 60, 20_000)
} as const

/** How the jobs of a load are divided between keys. */
export const keyCounts = { 'one key': 1, '7 keys': 7, '40 keys': 40, 'own keys': Infinity } as const
export const keyNames = Object.keys(keyCounts) as (keyof typeof keyCounts)[]
