/**
 * Measures the time from SIGTERM to exit, with 200 tasks and 40 jobs accepted, under the load of 50 keep-alive clients: clients that stop when the
 * readiness probe fails, and clients that go on; 20 runs of each. Handlers that had begun, tasks and jobs that don't end are lost; the service
 * counts them itself.
 *
 *   node --conditions=fastify-concurrency-source --import ./tsx.js bench/drain.ts [runs]
 */
import { runUnderLoad, type LoadResult } from '../test/fixtures/load.ts'

const RUNS = Number(process.argv[2] ?? 20)
const DELAY = 400
const execArgv = ['--conditions=fastify-concurrency-source', '--import', new URL('../tsx.js', import.meta.url).href]

function median (numbers: number[]): string {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!.toFixed(0)
}

for (const hammer of [false, true]) {
  const results: LoadResult[] = []
  for (let run = 0; run < RUNS; run++) results.push(await runUnderLoad({ clients: 50, hammer, delay: DELAY, execArgv }))
  const sum = (of: (result: LoadResult) => number): number => results.reduce((total, result) => total + of(result), 0)
  const answers = (kind: string): number => sum(({ answers }) => answers[kind] ?? 0)
  const overheads = results.map(({ overheadMs }) => overheadMs)
  console.log(`${RUNS} runs, 50 clients that ${hammer ? 'hammer on' : 'stop on readiness'}`)
  console.log(`  accepted  ${sum(({ ledger }) => ledger.requests.begun)} handlers, ${sum(({ ledger }) => ledger.tasks.accepted)} tasks, ${sum(({ ledger }) => ledger.jobs.accepted)} jobs`)
  console.log(`  lost      ${sum(({ ledger: { requests } }) => requests.begun - requests.ended)} handlers, ${sum(({ ledger: { tasks } }) => tasks.accepted - tasks.completed)} tasks, ${sum(({ ledger: { jobs } }) => jobs.accepted - jobs.completed)} jobs; ${sum(({ report }) => report.unfinished.length)} reported, ${results.filter(({ exitCode }) => exitCode !== 0).length} exits that were not clean`)
  console.log(`  answers   ${answers('200')} whole, ${answers('503')} refused, ${answers('truncated')} truncated, ${answers('reset')} reset, ${answers('unconnected')} not connected`)
  console.log(`  drain − longest remaining work: median ${median(overheads)} ms, worst ${Math.max(...overheads).toFixed(0)} ms; SIGTERM to exit: median ${median(results.map(({ exitMs }) => exitMs))} ms (delay ${DELAY} ms)`)
}
