// What the tiles and charts show of a sample.
import { count, duration, perSecond } from './dom.js'

/** @typedef {import('../sample.ts').Sample} Sample */
/** @typedef {import('../sample.ts').JobSample} JobSample */
/** @typedef {import('./chart.js').Definition} Definition */
/** @typedef {import('./chart.js').Curve} Curve */

const palette = ['c1', 'c3', 'c5', 'c6', 'c7', 'c8']

/** @param {readonly number[]} numbers */
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0)
/** @param {Sample} sample @param {(job: JobSample) => number} of */
const overJobs = ({ jobs }, of) => sum(jobs.map(of))
/** @param {JobSample} job */
const refusedJobs = ({ refused }) => sum(Object.values(refused))
/** @param {JobSample} job */
const failedJobs = ({ failed, expired, crashed }) => failed + expired + crashed
/** @param {Sample} sample */
const limited = ({ limits }) => sum(limits.map(({ refused }) => refused))
/** @type {Array<Curve & { value: (sample: Sample) => number }>} */
const reasons = [
  { label: 'queue full', color: 'c4', value: (sample) => overJobs(sample, ({ refused }) => refused.count) },
  { label: 'wait too long', color: 'c3', value: (sample) => overJobs(sample, ({ refused }) => refused.wait) },
  { label: 'deadline too near', color: 'c7', value: (sample) => overJobs(sample, ({ refused }) => refused.deadline) },
  { label: 'gave way', color: 'c5', value: (sample) => overJobs(sample, ({ refused }) => refused.shed) },
  { label: 'no thread starts', color: 'c9', value: (sample) => overJobs(sample, ({ refused }) => refused.unavailable) },
  { label: 'over a limit', color: 'c1', value: limited },
  { label: 'tasks full', color: 'c6', value: ({ tasks }) => tasks.refused.full },
  { label: 'Redis away, for tasks', color: 'c10', value: ({ tasks }) => tasks.refused.store },
  { label: 'lock not free', color: 'c2', value: ({ locks }) => locks.refused.full + locks.refused.timeout },
  {
    label: 'shutting down',
    color: 'c8',
    value: (sample) => sample.requestsRefused + overJobs(sample, ({ refused }) => refused.closing) + sample.tasks.refused.closing + sample.locks.refused.closing
  }
]

/** @param {Sample} sample */
const refusedAll = (sample) => sum(reasons.map((/** @type {{ value: (sample: Sample) => number }} */ { value }) => value(sample)))

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
  return shown.flatMap((key, index) => {
    const color = palette[index] ?? 'c8'
    const find = (/** @type {Sample} */ { jobs }) => jobs.find((job) => keyOf(job) === key)?.[what]
    return [
      { label: `${key} p99`, color, value: (/** @type {Sample} */ sample) => find(sample)?.p99 },
      { label: 'p50', color, dashed: true, value: (/** @type {Sample} */ sample) => find(sample)?.p50 }
    ]
  })
}

/** The lines of what happens seldom, if it has happened. @param {Sample[]} samples @param {Curve[]} lines */
const happened = (samples, lines) => lines.filter(({ value }) => samples.some((sample) => (value(sample) ?? 0) > 0))

/** @param {JobSample} job */
const keyOf = ({ pool, name }) => pool === 'workers' ? name : `${pool}: ${name}`

/** @param {Sample[]} samples */
const hasJobs = (samples) => samples.some(({ pools }) => pools.length > 0)

/** @type {Definition[]} */
export const charts = [
  {
    title: 'Jobs a second',
    format: count,
    isThere: hasJobs,
    lines: (samples) => [
      { label: 'arrived', color: 'c8', value: ({ arrived }) => arrived },
      { label: 'served', color: 'c2', filled: true, value: (sample) => overJobs(sample, ({ completed }) => completed) },
      { label: 'refused', color: 'c3', value: (sample) => overJobs(sample, refusedJobs) },
      ...happened(samples, [
        { label: 'failed', color: 'c4', value: (sample) => overJobs(sample, failedJobs) },
        { label: 'aborted', color: 'c5', value: (sample) => overJobs(sample, ({ aborted }) => aborted) }
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
  { title: 'Wait for a thread', format: duration, nothing: 'No job has ended yet.', isThere: hasJobs, lines: (samples) => quantiles(samples, 'wait') },
  { title: 'Run on a thread', format: duration, nothing: 'No job has ended yet.', isThere: hasJobs, lines: (samples) => quantiles(samples, 'run') },
  {
    title: 'Threads and queue',
    format: count,
    whole: true,
    isThere: hasJobs,
    lines: () => [
      { label: 'waiting (left)', color: 'c3', filled: true, value: ({ pools }) => sum(pools.map(({ waiting }) => waiting)) },
      { label: 'busy threads (right)', color: 'c1', right: true, value: ({ pools }) => sum(pools.map(({ running, maxThreads }) => Math.min(running, maxThreads))) },
      { label: 'threads', color: 'c8', right: true, dashed: true, value: ({ pools }) => sum(pools.map(({ threads }) => threads)) }
    ]
  },
  {
    title: 'Event loop delay',
    format: duration,
    isThere: () => true,
    lines: () => [
      { label: 'p99', color: 'c1', filled: true, value: ({ eventLoop }) => eventLoop.delayP99 },
      { label: 'max', color: 'c8', dashed: true, value: ({ eventLoop }) => eventLoop.delayMax }
    ]
  },
  {
    title: 'Limits, decisions a second',
    format: count,
    isThere: (samples) => samples.some(({ limits }) => limits.length > 0),
    lines: (samples) => (samples.at(-1)?.limits ?? []).slice(0, palette.length).flatMap(({ policy }, index) => {
      const color = palette[index] ?? 'c8'
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
      { label: 'waiting', color: 'c3', filled: true, value: ({ tasks }) => tasks.waiting },
      { label: 'running', color: 'c1', value: ({ tasks }) => tasks.running },
      { label: 'completed', color: 'c2', value: ({ tasks }) => tasks.completed, format: perSecond },
      ...happened(samples, [
        { label: 'retried', color: 'c5', value: ({ tasks }) => tasks.retried, format: perSecond },
        { label: 'failed', color: 'c4', value: ({ tasks }) => tasks.failed, format: perSecond }
      ])
    ]
  }
]

/**
 * @typedef {object} Tile
 * @property {string} title
 * @property {(sample: Sample, recent: Sample[]) => { value: string, unit?: string, note: string, tone?: 'good' | 'warn' | 'bad' }} show
 */

/** @param {Sample[]} samples @param {(sample: Sample) => number} value */
const mean = (samples, value) => sum(samples.map(value)) / Math.max(1, samples.length)

/** @type {Tile[]} */
export const tiles = [
  {
    title: 'Jobs served',
    show: (_, recent) => ({ value: count(mean(recent, (each) => overJobs(each, ({ completed }) => completed))), unit: '/s', note: `of ${count(mean(recent, ({ arrived }) => arrived))}/s that arrive` })
  },
  {
    title: 'Refused',
    show: (_, recent) => {
      const refused = mean(recent, refusedAll)
      const [most] = reasons.map(({ label, value }) => ({ label, rate: mean(recent, value) })).sort((a, b) => b.rate - a.rate)
      return { value: count(refused), unit: '/s', note: refused === 0 || most === undefined ? 'none in the last 5 s' : `mostly: ${most.label}`, ...(refused > 0 && { tone: 'warn' }) }
    }
  },
  {
    title: 'Waiting jobs',
    show: ({ pools }) => ({ value: count(sum(pools.map(({ waiting }) => waiting))), note: 'for a thread' })
  },
  {
    title: 'Busy threads',
    show: ({ pools }) => {
      const most = sum(pools.map(({ maxThreads }) => maxThreads))
      const busy = sum(pools.map(({ running, maxThreads }) => Math.min(running, maxThreads)))
      return { value: count(busy), unit: `of ${count(most)}`, note: busy === 0 ? 'idle' : `${Math.round(100 * busy / most)} % busy`, ...(most > 0 && busy === most && { tone: 'warn' }) }
    }
  },
  {
    title: 'Wait for a thread, p99',
    show: ({ jobs }) => {
      const [worst] = jobs.filter(({ wait }) => wait.p99 !== null).sort((a, b) => (b.wait.p99 ?? 0) - (a.wait.p99 ?? 0))
      return { ...split(worst?.wait.p99), note: worst === undefined ? 'no job ended in 10 s' : worst.name }
    }
  },
  {
    title: 'Event loop delay, p99',
    // One late second is no trouble: another process may have had the CPU, or the service has just started.
    show: ({ eventLoop: { delayP99, utilization } }, recent) => ({
      ...split(delayP99),
      note: `${Math.round(utilization * 100)} % busy`,
      ...(recent.length > 1 && recent.every(({ eventLoop }) => eventLoop.delayP99 > 50) && { tone: 'bad' })
    })
  }
]

/** @param {number | null | undefined} ms */
function split (ms) {
  if (ms === null || ms === undefined) return { value: '–' }
  const [value = '', unit = ''] = duration(ms).split(' ')
  return { value, unit }
}
