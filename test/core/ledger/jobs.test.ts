// What the ledger of a pool says of jobs agrees: the caller's error, the counts of stats(), those of the metrics, and the log.
import t from 'tap'
import metrics from '../../../plugins/metrics/index.ts'
import { logLines, rejection, startApp, until } from '../../helper.ts'

t.test('a crash has a line at warn with the job\'s name and its cause, also if the caller catches the error and debug lines are off', async (t) => {
  const { lines, logger } = logLines()
  const { workers } = await startApp(t, {}, { logger: { ...logger as object, level: 'info' } })
  await rejection(workers.run('die', 'exit'))
  t.match(lines.filter(({ level }) => level >= 40), [
    { level: 40, msg: 'job crashed', job: 'die', jobId: 1, err: { code: 'FC_ERR_JOB_CRASHED', message: /exited with code 3/ } }
  ])
})

t.test('what a shutdown gives up is counted as its callers are told: refused, and not aborted', async (t) => {
  const { app, workers } = await startApp(t, { closeTimeout: 50, grace: 50 })
  const left = [rejection(workers.run('spin', { ms: 60_000 })), rejection(workers.run('echo', 'queued'))]
  await until(() => workers.stats().running === 1, 'one runs')
  await app.close()
  for (const error of await Promise.all(left)) t.match(error, { code: 'FC_ERR_CLOSING' })
  const { spin, echo } = workers.stats().jobs
  t.match([spin, echo], [{ aborted: 0, refused: { closing: 1 } }, { aborted: 0, refused: { closing: 1 } }])
})

t.test('stats() and the metrics are one count: of each way to end, and of each time', async (t) => {
  const { app, workers } = await startApp(t, { maxQueue: 0 }, {}, (app) => { app.register(metrics) })
  await workers.run('echo', 1)
  await rejection(workers.run('fail', 'type'))
  await rejection(workers.run('spin', { ms: 10_000 }, { timeout: 20 }))
  await workers.idle()
  const controller = new AbortController()
  const running = rejection(workers.run('rest', { ms: 10_000 }, { signal: controller.signal }))
  await until(() => workers.stats().running === 1, 'it runs')
  await rejection(workers.run('echo', 2))
  controller.abort()
  await running
  await workers.idle()
  await rejection(workers.run('die', 'exit'))
  const { jobs } = workers.stats()
  t.match([jobs.echo, jobs.fail, jobs.spin, jobs.rest, jobs.die], [{ completed: 1, refused: { count: 1 } }, { failed: 1 }, { expired: 1 }, { aborted: 1 }, { crashed: 1 }])
  for (const { pool, name, wait, run, ...counts } of app.metrics.snapshot().jobs) {
    const { wait: waits, run: runs, ...counted } = jobs[name as keyof typeof jobs]
    t.strictSame([pool, counts, wait.count, run.count], ['workers', counted, waits.count, runs.count], name)
  }
})
