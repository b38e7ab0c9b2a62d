/** Converts milliseconds to work: iterations of a loop. */
import spin from '../jobs/spin.mjs'

/** @returns how many iterations of spin() take a millisecond on a CPU of its own: measure it before anything else runs */
export function calibrate () {
  const trial = 2_000_000
  let best = Infinity
  for (let i = 0; i < 60; i++) {
    const began = performance.now()
    spin(trial)
    best = Math.min(best, performance.now() - began)
  }
  return Math.round(trial / best)
}

/**
 * @param {number} ms
 * @param {string} [route]
 */
export const work = (ms, route = 'work') => `/${route}?ms=${ms}`

/**
 * @param {string} path
 * @returns the ms of work that it asks for
 */
export const workOf = (path) => Number(/[?]ms=([\d.]+)/.exec(path)?.[1] ?? 0)
