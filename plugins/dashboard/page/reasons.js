// What a sample counts, and why something was refused. A colour is the name of its meaning in style.css.

/** @typedef {import('../sample.ts').Sample} Sample */
/** @typedef {import('../sample.ts').JobSample} JobSample */
/** @typedef {import('./chart.js').Curve} Curve */

/** @param {readonly number[]} numbers */
export const sum = (numbers) => numbers.reduce((a, b) => a + b, 0)
/** @param {Sample} sample @param {(job: JobSample) => number} of */
export const overJobs = ({ jobs }, of) => sum(jobs.map(of))
/** Jobs for which `run()` was called. @param {Sample} sample */
export const arrivedJobs = ({ pools }) => sum(pools.map(({ arrived }) => arrived))
/** Whether the application has a pool. @param {Sample[]} samples */
export const hasPool = (samples) => samples.some(({ pools }) => pools.length > 0)
/** @param {JobSample} job */
const crowdedOut = ({ refused: { count, wait, deadline, shed } }) => count + wait + deadline + shed

/** @type {Array<Curve & { value: (sample: Sample) => number }>} */
export const reasons = [
  { label: 'threads too busy', color: 'refused', value: (sample) => overJobs(sample, crowdedOut) },
  { label: 'no thread starts', color: 'no-thread', value: (sample) => overJobs(sample, ({ refused }) => refused.unavailable) },
  { label: 'event loop too busy', color: 'no-loop', value: ({ loop }) => loop?.refused ?? 0 },
  { label: 'over a limit', color: 'over-limit', value: ({ limits }) => sum(limits.map(({ refused }) => refused)) },
  { label: 'tasks full', color: 'tasks-full', value: ({ tasks }) => tasks.refused.full },
  { label: 'Redis, for tasks', color: 'no-store', value: ({ tasks }) => tasks.refused.store },
  { label: 'lock not free', color: 'no-lock', value: ({ locks }) => locks.refused.full + locks.refused.timeout },
  {
    label: 'shutting down',
    color: 'closing',
    value: (sample) => sample.requestsRefused + overJobs(sample, ({ refused }) => refused.closing) +
      sample.tasks.refused.closing + sample.locks.refused.closing
  }
]

/** @param {Sample} sample */
export const refusedAll = (sample) => sum(reasons.map((/** @type {{ value: (sample: Sample) => number }} */ { value }) => value(sample)))
