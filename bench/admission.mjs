/**
 * Measures what one admission decision costs, by the number of waiting jobs: a job arrives and is admitted, another leaves, and the next is taken
 * and ends. Only the class Admission is measured, with the time as an argument, without threads.
 */
import { Admission, Entry } from '../dist/plugins/core/line/admission.js'
import { alternate, median, pairedRatio, Report } from './lib/report.mjs'

const LENGTHS = /** @type {const} */ ([10, 10_000])
const KEYS = { 'one key': 1, 'a key each': Infinity }

const report = new Report('admission', { rounds: '25', decisions: '20000' })
const rounds = report.number('rounds')
const decisions = report.number('decisions')

/**
 * @param {number} waiting
 * @param {number} keys
 * @returns ns a decision
 */
function measure (waiting, keys) {
  const settings = { threads: 2, maxQueue: 2 * waiting, maxWait: Infinity, orderWait: Infinity, targetWait: Infinity, concurrency: [Infinity] }
  const admission = new Admission(settings, () => { throw new Error('nothing is refused here') })
  let index = 0
  const entry = () => new Entry(0, `key ${keys === 1 ? 0 : index++ % waiting}`, 'normal', Infinity)
  for (let i = 0; i < waiting; i++) admission.offer(entry(), 0)
  const began = performance.now()
  for (let i = 1; i <= decisions; i++) {
    admission.offer(entry(), i)
    const left = entry()
    admission.offer(left, i)
    admission.leave(left, i)
    const taken = admission.take(i)
    if (taken === undefined || admission.waiting !== waiting) throw new Error('the queue isn\'t as long as it should be')
    admission.finish(taken, i, 10, 'completed')
  }
  return (performance.now() - began) * 1e6 / decisions
}

for (const [title, keys] of Object.entries(KEYS)) {
  for (const waiting of LENGTHS) measure(waiting, keys) // compiled
  const results = await alternate(rounds, [...LENGTHS], async (waiting) => measure(waiting, keys))
  const [few = [], many = []] = LENGTHS.map((waiting) => results.get(waiting) ?? [])
  report.table(`Two arrivals, one of which leaves, and a job taken and ended; ${title}: median of ${rounds} rounds`, [
    { waiting: LENGTHS[0], ns: median(few) },
    { waiting: LENGTHS[1], ns: median(many) }
  ])
  report.bar(`${title}: ${LENGTHS[1]} waiting ÷ ${LENGTHS[0]}`, pairedRatio(many, few), '<=', 3)
}
report.end()
