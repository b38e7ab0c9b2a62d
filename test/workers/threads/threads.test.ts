import t from 'tap'
import Fastify from 'fastify'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { threadEnded, threadStarted } from '../../../plugins/workers/channels.ts'
import workersPlugin, { type Workers } from '../../../plugins/workers/index.ts'
import { jobs as mortal } from '../../fixtures/mortal.ts'
import { jobs as slow } from '../../fixtures/slow.ts'
import { execArgv, logLines, rejection, startApp, until, type LogLine } from '../../helper.ts'

t.test('boot waits for the slowest thread', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(workersPlugin, { jobs: slow, maxThreads: 2, execArgv })
  await app.ready()
  t.equal(app.getDecorator<{ stats (): { threads: number } }>('workers').stats().threads, 2)
})

t.test('an idle pool holds no process open, and jobs do', async (t) => {
  const child = fork(new URL('../../fixtures/idle.ts', import.meta.url), [], { execArgv, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  child.disconnect()
  t.teardown(() => child.kill('SIGKILL'))
  t.same(await once(child, 'exit'), [7, null], 'it has run both jobs, and ended by itself')
})

t.test('threads that die while they start are tried again ever later; jobs wait, or meet their deadline', async (t) => {
  const file = join(t.testdir(), 'broken')
  const { lines, logger } = logLines()
  const app = Fastify({ logger })
  t.teardown(() => app.close())
  await app.register(workersPlugin, { jobs: mortal, maxThreads: 1, execArgv, env: { BROKEN: file } })
  await app.ready()
  const workers = app.getDecorator<Workers<typeof mortal>>('workers')
  writeFileSync(file, '') // what a deploy under the running process may do
  t.match(await rejection(workers.run('die', 'exit')), { code: 'FC_ERR_JOB_CRASHED' })
  // On a busy machine three starts may take longer than the 5 s after which a job is refused.
  const served = async (value: number): Promise<unknown> => workers.run('echo', value, { timeout: 30_000 })
    .catch(async (error: { code: string }) => error.code === 'FC_ERR_WORKERS_UNAVAILABLE' ? served(value) : Promise.reject(error))
  const waiting = served(1)
  t.match(await rejection(workers.run('echo', 1, { timeout: 100 })), { code: 'FC_ERR_JOB_TIMEOUT', message: /while queued/ })
  const failures = (): LogLine[] => lines.filter(({ msg }) => /can't start/.test(msg))
  const gap = (nth: number): number => (failures()[nth]?.['time'] as number) - (failures()[nth - 1]?.['time'] as number)
  await until(() => failures().length === 3, 'three attempts')
  t.ok(gap(2) > 190, 'later each time')
  t.match(failures()[0], { level: 50, err: { code: 'FC_ERR_JOBS_INVALID', message: /exited with code 7/ } })
  rmSync(file)
  t.equal(await waiting, 1, 'and when they can start again, they do')
  writeFileSync(file, '')
  t.match(await rejection(workers.run('die', 'exit')), { code: 'FC_ERR_JOB_CRASHED' })
  const again = served(2)
  await until(() => failures().length >= 5, 'two more')
  t.ok(gap(4) < 2_500, 'soon again, the next time')
  rmSync(file)
  t.equal(await again, 2)
})

t.test('threads are announced when they start and end', async (t) => {
  const seen: string[] = []
  const started = (message: unknown): void => { seen.push(`started ${(message as { thread: number }).thread}`) }
  const ended = (message: unknown): void => { seen.push(`ended ${(message as { thread: number, why: string }).thread} ${(message as { why: string }).why}`) }
  subscribe(threadStarted.name, started)
  subscribe(threadEnded.name, ended)
  t.teardown(() => { unsubscribe(threadStarted.name, started); unsubscribe(threadEnded.name, ended) })
  const { app, workers } = await startApp(t, { grace: 20 })
  await rejection(workers.run('die', 'exit'))
  await until(() => seen.length === 3, 'replaced')
  await rejection(workers.run('stubborn', { ms: Infinity }, { timeout: 20 }))
  await until(() => seen.length === 5, 'replaced again')
  await app.close()
  t.same(seen, ['started 0', 'ended 0 crashed', 'started 0', 'ended 0 overdue', 'started 0', 'ended 0 closed'])
})
