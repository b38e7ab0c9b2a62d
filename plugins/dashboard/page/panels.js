// What the charts show of a sample.
import { count, duration, perSecond } from './dom.js'
import { arrivedJobs, hasPool, overJobs, reasons, sum } from './reasons.js'

/** @typedef {import('../sample.ts').Sample} Sample */
/** @typedef {import('../sample.ts').JobSample} JobSample */
/** @typedef {import('./chart.js').Definition} Definition */
/** @typedef {import('./chart.js').Curve} Curve */

/** @param {JobSample} job */
const refusedJobs = ({ refused }) => sum(Object.values(refused))
/** @param {JobSample} job */
const failedJobs = ({ failed, expired, crashed }) => failed + expired + crashed

/** Colours of names, which no outcome has. */
const NAMES = 8
/** @type {Map<string, string>} */
const colours = new Map()

/** Returns the colour of a job or a limit, which it has in all charts. @param {string} name */
function colourOf (name) {
  const known = colours.get(name)
  if (known !== undefined) return known
  const colour = `name-${colours.size % NAMES + 1}`
  colours.set(name, colour)
  return colour
}

/**
 * Two lines for each of the jobs with the longest times.
 *
 * @param {Sample[]} samples
 * @param {'wait' | 'run'} what
 * @returns {Curve[]}
 */
function quantiles (samples, what) {
  /** @type {Map<string, number>} */
  const longest = new Map()
  for (const { jobs } of samples) for (const job of jobs) longest.set(keyOf(job), Math.max(longest.get(keyOf(job)) ?? -1, job[what].p99 ?? -1))
  const shown = [...longest].filter(([, ms]) => ms >= 0).sort(([, a], [, b]) => b - a).slice(0, 4).map(([key]) => key).sort()
  return shown.flatMap((key) => {
    const color = colourOf(key)
    const find = (/** @type {Sample} */ { jobs }) => jobs.find((job) => keyOf(job) === key)?.[what]
    return [
      { label: `${key} p99`, color, value: (/** @type {Sample} */ sample) => find(sample)?.p99 },
      { label: 'p50', color, dashed: true, value: (/** @type {Sample} */ sample) => find(sample)?.p50 }
    ]
  })
}

/** The lines of what happens seldom, if it has happened. @param {Sample[]} samples @param {Curve[]} lines */
const happened = (samples, lines) => lines.filter(({ value }) => samples.some((sample) => (value(sample) ?? 0) > 0))

/** The limits that have lines. */
const MAX_LIMITS = 6

/** @param {JobSample} job */
const keyOf = ({ pool, name }) => pool === 'workers' ? name : `${pool}: ${name}`

/** @type {Definition[]} */
export const charts = [
  {
    title: 'Jobs a second',
    format: count,
    isThere: hasPool,
    lines: (samples) => [
      { label: 'arrived', color: 'neutral', value: arrivedJobs },
      { label: 'served', color: 'served', filled: true, value: (sample) => overJobs(sample, ({ completed }) => completed) },
      { label: 'refused', color: 'refused', value: (sample) => overJobs(sample, refusedJobs) },
      ...happened(samples, [
        { label: 'failed', color: 'failed', value: (sample) => overJobs(sample, failedJobs) },
        { label: 'aborted', color: 'aborted', value: (sample) => overJobs(sample, ({ aborted }) => aborted) }
      ])
    ]
  },
  {
    title: 'Refused a second, by reason',
    format: count,
    nothing: 'Nothing was refused.',
    isThere: () => true,
    lines: (samples) => happened(samples, reasons).map((reason) => ({ ...reason, filled: true }))
  },
  { title: 'Wait for a thread', format: duration, nothing: 'No job has ended yet.', isThere: hasPool, lines: (samples) => quantiles(samples, 'wait') },
  { title: 'Run on a thread', format: duration, nothing: 'No job has ended yet.', isThere: hasPool, lines: (samples) => quantiles(samples, 'run') },
  {
    title: 'Threads and queue',
    format: count,
    whole: true,
    isThere: hasPool,
    lines: () => [
      { label: 'waiting (left)', color: 'waiting', filled: true, value: ({ pools }) => sum(pools.map(({ waiting }) => waiting)) },
      { label: 'busy threads (right)', color: 'running', right: true, value: ({ pools }) => sum(pools.map(({ running, maxThreads }) => Math.min(running, maxThreads))) },
      { label: 'threads', color: 'neutral', right: true, dashed: true, value: ({ pools }) => sum(pools.map(({ threads }) => threads)) }
    ]
  },
  {
    title: 'Event loop delay',
    format: duration,
    isThere: () => true,
    lines: () => [
      { label: 'p99', color: 'delay', filled: true, value: ({ eventLoop }) => eventLoop.delayP99 },
      { label: 'max', color: 'delay', dashed: true, value: ({ eventLoop }) => eventLoop.delayMax }
    ]
  },
  {
    title: 'Limits, decisions a second',
    format: count,
    isThere: (samples) => samples.some(({ limits }) => limits.length > 0),
    lines: (samples) => (samples.at(-1)?.limits ?? []).slice(0, MAX_LIMITS).flatMap(({ policy }) => {
      const color = colourOf(`limit ${policy}`)
      const find = (/** @type {Sample} */ { limits }) => limits.find((limit) => limit.policy === policy)
      return [
        { label: `${policy} granted`, color, value: (/** @type {Sample} */ sample) => find(sample)?.granted },
        ...happened(samples, [{ label: `${policy} refused`, color, dashed: true, value: (sample) => find(sample)?.refused }])
      ]
    })
  },
  {
    title: 'Tasks',
    format: count,
    isThere: (samples) => samples.some(({ tasks }) => Object.values({ ...tasks, refused: sum(Object.values(tasks.refused)) }).some((value) => value > 0)),
    lines: (samples) => [
      { label: 'waiting', color: 'waiting', filled: true, value: ({ tasks }) => tasks.waiting },
      { label: 'running', color: 'running', value: ({ tasks }) => tasks.running },
      { label: 'completed', color: 'served', value: ({ tasks }) => tasks.completed, format: perSecond },
      ...happened(samples, [
        { label: 'retried', color: 'retried', value: ({ tasks }) => tasks.retried, format: perSecond },
        { label: 'failed', color: 'failed', value: ({ tasks }) => tasks.failed, format: perSecond }
      ])
    ]
  }
]
