// What is said of tasks and locks agrees: the counts of stats(), those of the metrics, and the log.
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import Fastify from 'fastify'
import locks from '../../../plugins/locks/index.ts'
import metrics from '../../../plugins/metrics/index.ts'
import tasks from '../../../plugins/tasks/index.ts'
import { deferred, logLines, rejection } from '../../helper.ts'

t.test('tasks: stats() and the metrics are one count, also of tasks that ended before the metrics were there; an expired task has failed', async (t) => {
  const { lines, logger } = logLines()
  const app = Fastify({ logger })
  t.teardown(() => app.close())
  await app.register(tasks, { concurrency: 1, maxQueue: 1 })
  await app.tasks.submit('mail:1', () => {}).done
  await app.register(metrics)
  await app.ready()
  let attempts = 0
  await app.tasks.submit('mail:2', () => { if (attempts++ === 0) throw new Error('once') }, { retries: 1, backoff: { base: 0, max: 0 } }).done
  await rejection(app.tasks.submit('mail:3', ({ signal }) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))), { timeout: 5 }).done)
  const gate = deferred()
  const running = app.tasks.submit('mail:4', () => gate.promise)
  const cancelled = app.tasks.submit('mail:5', () => {})
  t.throws(() => app.tasks.submit('mail:6', () => {}), { code: 'FC_ERR_TASKS_FULL' })
  cancelled.cancel()
  await rejection(cancelled.done)
  gate.resolve()
  await running.done
  const counts = { completed: 3, failed: 1, retried: 1, aborted: 1 }
  t.match(app.tasks.stats(), counts)
  t.match(app.metrics.snapshot().tasks, [{ name: 'mail', ...counts, refused: { full: 1, store: 0, closing: 0 }, wait: { count: 4 }, run: { count: 3 } }])
  t.match(lines.filter(({ msg }) => msg === 'task failed'), [{ level: 50, task: 'mail:3', attempt: 1, err: { code: 'FC_ERR_TASK_TIMEOUT' } }])
})

t.test('the wait of a task is the time from its submission to the start of its function', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(tasks, { concurrency: 1 })
  await app.register(metrics)
  await app.ready()
  const before = performance.now()
  const blocking = app.tasks.submit('block', () => setTimeout(30))
  await app.tasks.submit('mail', () => {}).done
  await blocking.done
  const elapsed = performance.now() - before
  const [block, mail] = app.metrics.snapshot().tasks
  t.match(mail, { name: 'mail', wait: { count: 1 } })
  // A timer may fire too early by part of a millisecond.
  t.ok(mail!.wait.sum >= 29 && mail!.wait.sum <= elapsed, `waited for ${mail!.wait.sum} of ${elapsed} ms`)
  t.ok(block!.wait.sum <= elapsed - 29, 'the first has not waited for itself')
})

t.test('locks: a caller that acquires, and one that is refused', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(locks)
  await app.register(metrics)
  await app.ready()
  await app.locks.mutex('a').runExclusive(async () => rejection(app.locks.semaphore('b', 1).run(async () => {
    await app.locks.semaphore('b', 1).acquire({ timeout: 0 })
  })))
  t.match(app.metrics.snapshot().locks.map(({ kind, acquired, refused, wait }) => [kind, acquired, refused.timeout, wait.count]), [['mutex', 1, 0, 1], ['semaphore', 1, 1, 1]])
})
