/** Seeded random numbers, and the run times that are drawn with them. */
export type Random = () => number

/** Mulberry32: uniform in [0, 1). */
export function random (seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6D2B79F5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** The run time of a job, in ms. */
export interface RunTime {
  readonly mean: number
  sample (random: Random, now: number): number
}

export const fixed = (ms: number): RunTime => ({ mean: ms, sample: () => ms })
/** Run times that are spread evenly around their mean: `spread` is 0.5 for ±50 %. */
export const around = (mean: number, spread: number): RunTime => ({
  mean, sample: (random) => mean * (1 + spread * (2 * random() - 1))
})
export const exponential = (mean: number): RunTime => ({ mean, sample: (random) => -mean * Math.log(1 - random()) })
export const mix = (share: number, a: RunTime, b: RunTime): RunTime => ({
  mean: share * a.mean + (1 - share) * b.mean,
  sample: (random, now) => (random() < share ? a : b).sample(random, now)
})
/** Run times that become longer and shorter again in the course of `period` ms. */
export const drifting = (low: number, high: number, period: number): RunTime => ({
  mean: (low + high) / 2,
  sample: (_random, now) => (low + high) / 2 + (high - low) / 2 * Math.sin(2 * Math.PI * now / period)
})
/** Bounded Pareto: heavy-tailed. */
export const pareto = (alpha: number, low: number, high: number): RunTime => ({
  mean: (low ** alpha / (1 - (low / high) ** alpha)) * (alpha / (alpha - 1)) *
    (low ** (1 - alpha) - high ** (1 - alpha)),
  sample: (random) =>
    (-(random() * (high ** alpha - low ** alpha) - high ** alpha) / (high * low) ** alpha) ** (-1 / alpha)
})
