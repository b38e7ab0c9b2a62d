/**
 * What an admission decision costs, with 10, 1,000 and 10,000 jobs waiting: one offer, one take and one finish, in ns.
 * `one key` is a load test from one address; `many keys` is as many clients as jobs, the worst case for fairness.
 *
 *   node --conditions=fastify-concurrency-source --import ./tsx.js bench/admission.ts
 */
import { Admission, Ticket } from '../plugins/workers/admission.ts'

const ROUNDS = 200_000
const REPEATS = 7
const STEP = 0.001

function create (waiting: number): Admission<Ticket> {
  const patient = { maxWait: Infinity, targetWait: Infinity, interval: 1_000 }
  return new Admission<Ticket>({ threads: 2, maxQueue: 2 * waiting, concurrency: [Infinity], ...patient }, () => {})
}

/** In ns of this process's CPU time: what the machine does besides doesn't count. */
function measure (waiting: number, keys: readonly string[]): number {
  const admission = create(waiting)
  let now = 0
  let next = 0
  const ticket = (): Ticket => new Ticket(0, keys[next++ % keys.length]!, 'normal', Infinity)
  for (let i = 0; i < waiting; i++) admission.offer(ticket(), now)
  const started = process.cpuUsage()
  for (let i = 0; i < ROUNDS; i++) {
    now += STEP
    admission.offer(ticket(), now)
    admission.finish(admission.take(now)!, now, STEP, 'completed')
  }
  return process.cpuUsage(started).user * 1_000 / ROUNDS
}

function median (measurements: number[]): number {
  return measurements.sort((a, b) => a - b)[measurements.length >> 1]!
}

const sizes = [10, 1_000, 10_000]
const cases: [name: string, keys: (waiting: number) => string[]][] = [
  ['one key', () => ['10.0.0.1']],
  ['100 keys', () => Array.from({ length: 100 }, (_, i) => `10.0.0.${i}`)],
  ['many keys', (waiting) => Array.from({ length: waiting }, (_, i) => `10.0.${i >> 8}.${i & 255}`)]
]
console.log(`offer + take + finish, ns        ${sizes.map((size) => `${size} waiting`.padStart(16)).join('')}     last ÷ first`)
for (const [name, keys] of cases) {
  const costs = sizes.map((size) => median(Array.from({ length: REPEATS }, () => measure(size, keys(size)))))
  console.log(`${name.padEnd(33)}${costs.map((cost) => cost.toFixed(0).padStart(16)).join('')}${(costs.at(-1)! / costs[0]!).toFixed(2).padStart(17)}`)
}
