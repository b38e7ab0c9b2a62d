// The numbers at the top of the page: of the parts that the application uses.
import { count, duration } from './dom.js'
import { arrivedJobs, hasPool, overJobs, reasons, refusedAll, sum } from './reasons.js'

/** @typedef {import('../sample.ts').Sample} Sample */

/**
 * @typedef {object} Tile
 * @property {string} title
 * @property {(samples: Sample[]) => boolean} isThere whether the application has what the tile is about
 * @property {(sample: Sample, recent: Sample[]) => { value: string, unit?: string, note: string, tone?: 'warn' | 'bad' }} show
 */

/** @param {Sample[]} samples @param {(sample: Sample) => number} value */
const mean = (samples, value) => sum(samples.map(value)) / Math.max(1, samples.length)

/** @type {Tile[]} */
export const tiles = [
  {
    title: 'Jobs served',
    isThere: hasPool,
    show: (_, recent) => ({
      value: count(mean(recent, (each) => overJobs(each, ({ completed }) => completed))),
      unit: '/s',
      note: `of ${count(mean(recent, arrivedJobs))}/s that arrive, in the last 10 s`
    })
  },
  {
    title: 'Refused',
    isThere: () => true,
    show: (_, recent) => {
      const refused = mean(recent, refusedAll)
      const [most] = reasons.map(({ label, value }) => ({ label, rate: mean(recent, value) })).sort((a, b) => b.rate - a.rate)
      return { value: count(refused), unit: '/s', note: refused === 0 || most === undefined ? 'none in the last 10 s' : `mostly: ${most.label}`, ...(refused > 0 && { tone: 'warn' }) }
    }
  },
  {
    title: 'Waiting jobs',
    isThere: hasPool,
    show: ({ pools }) => ({ value: count(sum(pools.map(({ waiting }) => waiting))), note: 'for a thread' })
  },
  {
    title: 'Busy threads',
    isThere: hasPool,
    show: ({ pools }) => {
      const most = sum(pools.map(({ maxThreads }) => maxThreads))
      const busy = sum(pools.map(({ running, maxThreads }) => Math.min(running, maxThreads)))
      return { value: count(busy), unit: `of ${count(most)}`, note: busy === 0 ? 'idle' : `${Math.round(100 * busy / most)} % busy`, ...(most > 0 && busy === most && { tone: 'warn' }) }
    }
  },
  {
    title: 'Wait for a thread, p99',
    isThere: hasPool,
    show: ({ jobs }) => {
      const [worst] = jobs.filter(({ wait }) => wait.p99 !== null).sort((a, b) => (b.wait.p99 ?? 0) - (a.wait.p99 ?? 0))
      return { ...split(worst?.wait.p99), note: worst === undefined ? 'no job ended in 10 s' : worst.name }
    }
  },
  {
    title: 'Requests',
    isThere: (samples) => samples.some(({ loop }) => loop !== undefined),
    show: (_, recent) => ({ value: count(mean(recent, ({ loop }) => loop?.arrived ?? 0)), unit: '/s', note: 'at the event loop' })
  },
  {
    title: 'Limits granted',
    isThere: (samples) => !hasPool(samples) && samples.some(({ limits }) => limits.length > 0),
    show: (_, recent) => ({ value: count(mean(recent, ({ limits }) => sum(limits.map(({ granted }) => granted)))), unit: '/s', note: 'requests and calls' })
  },
  {
    title: 'Running tasks',
    isThere: (samples) => samples.some(({ tasks: { running, waiting, completed, failed } }) => running + waiting + completed + failed > 0),
    show: ({ tasks }) => ({ value: count(tasks.running), note: tasks.waiting === 0 ? 'none waits' : `${count(tasks.waiting)} wait` })
  },
  {
    title: 'Event loop delay, p99',
    isThere: () => true,
    // One late second is no trouble: another process may have had the CPU, or the service has just started.
    show: ({ eventLoop: { delayP99 } }, recent) => ({
      ...split(delayP99),
      note: `${Math.round(mean(recent, ({ eventLoop }) => eventLoop.utilization) * 100)} % busy in the last 10 s`,
      ...(recent.length > 1 && recent.slice(-5).every(({ eventLoop }) => eventLoop.delayP99 > 50) && { tone: 'bad' })
    })
  }
]

/** @param {number | null | undefined} ms */
function split (ms) {
  if (ms === null || ms === undefined) return { value: '–' }
  const [value = '', unit = ''] = duration(ms).split(' ')
  return { value, unit }
}
