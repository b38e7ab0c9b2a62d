/**
 * Measures the time from SIGTERM to exit, with 200 tasks and 40 jobs accepted, under the load of 50 keep-alive clients: clients that stop when the
 * readiness probe fails, and clients that go on; 20 runs of each. Handlers that had begun, tasks and jobs that don't end are lost; the service
 * counts them itself.
 *
 *   node --conditions=fastify-concurrency-source --import ./loader/typescript.js bench/drain.ts [--runs 20] [--save]
 */
import { runUnderLoad, type LoadResult } from '../test/fixtures/load.ts'
import { median, Report } from './lib/report.mjs'

const report = new Report('drain', { runs: '20' })
const RUNS = report.number('runs')
const DELAY = 400
const execArgv = ['--conditions=fastify-concurrency-source', '--import', new URL('../loader/typescript.js', import.meta.url).href]

for (const hammer of [false, true]) {
  const results: LoadResult[] = []
  for (let run = 0; run < RUNS; run++) results.push(await runUnderLoad({ clients: 50, hammer, delay: DELAY, execArgv }))
  const sum = (of: (result: LoadResult) => number): number => results.reduce((total, result) => total + of(result), 0)
  const answers = (kind: string): number => sum(({ answers }) => answers[kind] ?? 0)
  const overheads = results.map(({ overheadMs }) => overheadMs)
  report.table(`SIGTERM under load, ${RUNS} runs, 50 clients that ${hammer ? 'go on sending' : 'stop on readiness'}`, [
    { what: 'accepted handlers', count: sum(({ ledger }) => ledger.requests.begun) },
    { what: 'accepted tasks', count: sum(({ ledger }) => ledger.tasks.accepted) },
    { what: 'accepted jobs', count: sum(({ ledger }) => ledger.jobs.accepted) },
    { what: 'lost handlers', count: sum(({ ledger: { requests } }) => requests.begun - requests.ended) },
    { what: 'lost tasks', count: sum(({ ledger: { tasks } }) => tasks.accepted - tasks.completed) },
    { what: 'lost jobs', count: sum(({ ledger: { jobs } }) => jobs.accepted - jobs.completed) },
    { what: 'unfinished in reports', count: sum(({ report }) => report.unfinished.length) },
    { what: 'exits that were not clean', count: results.filter(({ exitCode }) => exitCode !== 0).length },
    { what: 'answers 200', count: answers('200') },
    { what: 'answers 503', count: answers('503') },
    { what: 'answers truncated', count: answers('truncated') },
    { what: 'connections reset', count: answers('reset') },
    { what: 'not connected', count: answers('unconnected') },
    { what: 'drain beyond the longest remaining work, median ms', count: median(overheads) },
    { what: 'drain beyond the longest remaining work, worst ms', count: Math.max(...overheads) },
    { what: `SIGTERM to exit (delay ${DELAY} ms), median ms`, count: median(results.map(({ exitMs }) => exitMs)) }
  ])
}
report.end()
