/**
 * What the threads of a server have done, so that other programs on the machine don't count: a thread that is ready to run and doesn't get a
 * CPU is as busy as one that runs. Linux counts both times (/proc/<pid>/task/<tid>/schedstat). On other systems there is nothing to read.
 */
import { readFileSync } from 'node:fs'

/** The work, in ms, that each thread of the pool has executed, by its id. @type {Map<number, number>} */
const executed = new Map()

/** @param {number} tid @param {number} ms that the thread has executed so far */
export function noteThread (tid, ms) {
  executed.set(tid, ms)
}

/** @param {number} tid @returns ms on a CPU, and ms ready to run without one */
function schedule (tid) {
  const [ran = NaN, waited = NaN] = readFileSync(`/proc/self/task/${tid}/schedstat`, 'utf8').split(' ').map(Number)
  return { ran: ran / 1e6, waited: waited / 1e6 }
}

/** @param {number} tid @param {number} ms */
function thread (tid, ms) {
  try {
    const { ran, waited } = schedule(tid)
    return { tid, busy: ran + waited, executed: ms }
  } catch {
    executed.delete(tid) // The thread has ended, and another has taken its place.
    return undefined
  }
}

/**
 * @typedef {object} Times all in ms since some instant
 * @property {number} now
 * @property {number} main the CPU time of the main thread
 * @property {Array<{ tid: number, busy: number, executed: number }>} threads
 */

/** @returns {Times} */
export function readTimes () {
  return {
    now: performance.now(),
    main: schedule(process.pid).ran,
    threads: [...executed].flatMap(([tid, ms]) => thread(tid, ms) ?? [])
  }
}

/**
 * @param {Times} first
 * @param {Times} last
 * @param {{ work: number, asked: number }} meanwhile the work, in ms, that was served in time, and the requests that came
 */
export function compareTimes (first, last, { work, asked }) {
  const threads = last.threads.map(({ tid, busy, executed }) => {
    const before = first.threads.find((thread) => thread.tid === tid)
    return { busy: busy - (before?.busy ?? 0), executed: executed - (before?.executed ?? 0) }
  })
  const sum = (/** @type {'busy' | 'executed'} */ what) => threads.reduce((sum, thread) => sum + thread[what], 0)
  return {
    busy: sum('busy') / (threads.length * (last.now - first.now)),
    useful: work / sum('executed'),
    /** µs of the main thread for each request that came */
    main: 1_000 * (last.main - first.main) / asked
  }
}
