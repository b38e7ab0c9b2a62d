import t from 'tap'
import { runUnderLoad } from '../fixtures/load.ts'
import { execArgv } from '../helper.ts'

for (const hammer of [false, true]) {
  t.test(`SIGTERM under load, clients that ${hammer ? 'hammer on' : 'stop on readiness'}: no accepted work is lost`, async (t) => {
    const { exitCode, report, ledger, answers } = await runUnderLoad({ clients: 20, hammer, delay: 400, execArgv })
    const { requests, tasks, jobs } = ledger
    t.equal(exitCode, 0)
    t.match(report, { reason: 'SIGTERM', unfinished: [] })
    t.equal(requests.ended, requests.begun, 'every handler that had begun has ended')
    t.equal(tasks.completed, tasks.accepted)
    t.equal(jobs.completed, jobs.accepted)
    t.ok(tasks.accepted > 200, 'there was something to lose')
    t.ok(jobs.accepted > 40)
    t.equal(answers['truncated'] ?? 0, 0)
    if (!hammer) t.same(Object.keys(answers), ['200'], JSON.stringify(answers))
  })
}
