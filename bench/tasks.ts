/**
 * Compares the throughput of submit() with p-queue and fastq: empty async functions, 64 at a time. Each round runs all three in turn, so that
 * changes of the machine affect all of them. Printed are the medians of the rounds and of the paired ratios. Our tasks carry ids, deadlines
 * and async contexts; those of the others don't.
 *
 *   node --conditions=fastify-concurrency-source --import ./loader/typescript.js bench/tasks.ts [--rounds 15] [--save]
 */
import fastq from 'fastq'
import Fastify from 'fastify'
import PQueue from 'p-queue'
import tasks from '../plugins/tasks/index.ts'
import { median, pairedRatio, Report } from './lib/report.mjs'

const TASKS = 20_000
const CONCURRENCY = 64

const report = new Report('tasks', { rounds: '15' })
const ROUNDS = report.number('rounds')

const app = Fastify()
// One key fills half of the queue.
await app.register(tasks, { concurrency: CONCURRENCY, maxQueue: 2 * TASKS })
await app.ready()
const pQueue = new PQueue({ concurrency: CONCURRENCY })
const fQueue = fastq.promise(async (fn: () => Promise<void>) => fn(), CONCURRENCY)
const work = async (): Promise<void> => {}

const contenders: Record<string, () => Promise<unknown>> = {
  ours: async () => {
    for (let i = 0; i < TASKS; i++) app.tasks.submit(`task:${i}`, work)
    await app.tasks.idle()
  },
  'p-queue': async () => {
    for (let i = 0; i < TASKS; i++) pQueue.add(work).catch(() => {})
    await pQueue.onIdle()
  },
  fastq: async () => {
    for (let i = 0; i < TASKS; i++) fQueue.push(work).catch(() => {})
    await fQueue.drained()
  }
}

const rates: Record<string, number[]> = {}
for (let round = 0; round < ROUNDS + 3; round++) {
  for (const [name, run] of Object.entries(contenders)) {
    const before = performance.now()
    await run()
    // The first three rounds warm up.
    if (round >= 3) (rates[name] ??= []).push(TASKS / (performance.now() - before))
  }
}
await app.close()

report.table(`${TASKS} empty tasks: medians of ${ROUNDS} rounds`, Object.entries(rates).map(([queue, each]) => {
  return { queue, 'tasks/ms': median(each), 'ours ÷ it': pairedRatio(rates['ours'] ?? [], each) }
}))
report.end()
