import t from 'tap'
import { getEventListeners } from 'node:events'
import { assertIdle } from '../../plugins/testing.ts'
import { start, type Slots } from '../../workers/slots.ts'
import { Job } from '../../plugins/workers/job.ts'
import type { JobEvents } from '../../plugins/workers/threads/events.ts'
import type { OsThread } from '../../plugins/workers/threads/piscina.ts'
import { Thread } from '../../plugins/workers/threads/thread.ts'
import { Transitions } from '../../plugins/workers/threads/transitions.ts'
import { deferred, holdThread, logLines, rejection, startApp, startJob, until } from '../helper.ts'

t.test('an abort reaches a job wherever it is', async (t) => {
  const { workers } = await startApp(t)

  t.test('before: the job never runs', async (t) => {
    const reason = new Error('too late')
    t.match(await rejection(workers.run('spin', { ms: 10_000 }, { signal: AbortSignal.abort(reason) })), { code: 'FC_ERR_JOB_ABORTED', statusCode: 499, cause: reason })
  })

  t.test('while queued: it leaves the queue at once', async (t) => {
    const controller = new AbortController()
    const ahead = workers.run('spin', { ms: 100 })
    const queued = rejection(workers.run('spin', { ms: 10_000 }, { signal: controller.signal }))
    await until(() => workers.stats().running === 1, 'the first runs')
    t.equal(workers.stats().waiting, 1)
    controller.abort()
    t.match(await queued, { code: 'FC_ERR_JOB_ABORTED', cause: { name: 'AbortError' } })
    t.equal(workers.stats().waiting, 0)
    t.equal(await ahead, 'done')
  })

  t.test('while running, a synchronous loop that polls: its thread is free again, and the same', async (t) => {
    const { threadId } = await workers.run('inspect')
    const controller = new AbortController()
    const { ended } = await startJob(workers, 'spin', { ms: 60_000 }, { signal: controller.signal })
    controller.abort()
    t.match(await rejection(ended), { code: 'FC_ERR_JOB_ABORTED' })
    t.equal((await workers.run('inspect')).threadId, threadId)
  })

  t.test('while running, asynchronous code that passes its signal on', async (t) => {
    const { threadId } = await workers.run('inspect')
    const controller = new AbortController()
    const { ended } = await startJob(workers, 'rest', { ms: 60_000 }, { signal: controller.signal })
    controller.abort()
    t.match(await rejection(ended), { code: 'FC_ERR_JOB_ABORTED' })
    t.equal((await workers.run('inspect')).threadId, threadId)
  })

  t.test('after the end: nothing happens', async (t) => {
    const controller = new AbortController()
    t.equal(await workers.run('echo', 1, { signal: controller.signal }), 1)
    controller.abort()
    t.equal(await workers.run('echo', 2), 2)
  })

  t.test('a thousand runs on one signal leave no listener behind, and never have more than one', async (t) => {
    const { signal } = new AbortController()
    let most = 0
    await workers.map('echo', Array.from({ length: 1_000 }, (_, n) => n), { signal })
    for (let burst = 0; burst < 10; burst++) {
      const runs = Array.from({ length: 100 }, (_, n) => workers.run('echo', n, { signal }))
      most = Math.max(most, getEventListeners(signal, 'abort').length)
      await Promise.all(runs)
    }
    t.equal(most, 1)
    t.equal(getEventListeners(signal, 'abort').length, 0)
  })

  t.test('a run that has ended leaves the others their signal', async (t) => {
    const controller = new AbortController()
    const { signal } = controller
    const { ended } = await startJob(workers, 'spin', { ms: 60_000 }, { signal })
    t.match(await rejection(workers.run('echo', 1, { signal, timeout: 20 })), { code: 'FC_ERR_JOB_TIMEOUT' })
    controller.abort()
    t.match(await rejection(ended), { code: 'FC_ERR_JOB_ABORTED' })
    await workers.idle()
  })

  t.test('an abort that comes when its job has ended and the next runs isn\'t the next one\'s', async (t) => {
    await workers.map('rest', Array.from({ length: 300 }, () => ({ ms: 0 }))) // known to be short: both are handed over at once
    const controller = new AbortController()
    const first = rejection(workers.run('rest', { ms: 0 }, { signal: controller.signal }))
    const second = workers.run('rest', { ms: 300 })
    await new Promise((resolve) => process.nextTick(resolve))
    const end = performance.now() + 100
    while (performance.now() < end); // the first has ended, which isn't heard yet
    controller.abort()
    t.match(await first, { code: 'FC_ERR_JOB_ABORTED' })
    t.equal(await second, 'rested')
  })

  t.test('a prefetched job that is aborted before it starts never starts', async (t) => {
    const counts = new Int32Array(new SharedArrayBuffer(4 * 60))
    await workers.map('count', Array.from({ length: 100 }, () => ({ counts: new Int32Array(new SharedArrayBuffer(4)), at: 0 })))
    const { release } = await holdThread(workers)
    const controller = new AbortController()
    const runs = Array.from({ length: 60 }, (_, at) => workers.run('count', { counts, at }, at % 2 === 1 ? { signal: controller.signal } : {}).then(() => 'ran', () => 'cancelled'))
    process.nextTick(() => { controller.abort(); release() }) // after they were handed over
    const ended = await Promise.all(runs)
    await workers.idle()
    t.same(ended.map((end, at) => `${end} ${counts[at]}`), ended.map((_, at) => at % 2 === 0 ? 'ran 1' : 'cancelled 0'))
  })
})

t.test('a job that ignores its abort loses its thread after its grace, and the next gets a new one', async (t) => {
  const { lines, logger } = logLines()
  const { workers } = await startApp(t, { grace: 50 }, { logger })
  const { threadId } = await workers.run('inspect')
  const controller = new AbortController()
  const { ended } = await startJob(workers, 'stubborn', { ms: Infinity }, { signal: controller.signal })
  const next = workers.run('inspect', undefined)
  controller.abort()
  t.match(await rejection(ended), { code: 'FC_ERR_JOB_ABORTED' })
  t.equal(workers.stats().running, 1, 'its thread is still busy with it')
  t.not((await next).threadId, threadId)
  t.match(lines.filter(({ level }) => level === 40), [{ job: 'stubborn', grace: 50, msg: /its thread was replaced/ }])
})

t.test('prefetched jobs are revoked before their thread is ended, so that it starts none of them in its last moments', async (t) => {
  let slots!: Slots
  let started: boolean | undefined
  const gone = deferred()
  // A thread that has a job holds the process open.
  const open = setInterval(() => {}, 1_000)
  t.teardown(() => clearInterval(open))
  const os = (data: { slots: Slots }, onGone: (error: Error) => void): OsThread => {
    slots = data.slots
    return {
      alive: true,
      hold: () => {},
      end: () => {
        started = start(slots, ahead.slot)
        setImmediate(onGone, new Error('ended'))
      }
    } as unknown as OsThread
  }
  const events: unknown[] = []
  const jobEvents = {
    dispatched: () => {},
    returned: (jobs: readonly Job[]) => events.push({ type: 'returned', jobs }),
    crashed: (job: Job, _error: unknown, _ms: number, killed: boolean) => events.push({ type: 'crashed', job, killed })
  } as unknown as JobEvents
  const thread = new Thread(0, 1_000, undefined as never, new Transitions(), jobEvents, { ready () {}, broken () {}, ended: () => gone.resolve() })
  thread.start(0, 0, os, { url: '', names: [], preload: false })
  const settings = { key: '', priority: 'normal', timeout: 1_000, payload: undefined, transferList: undefined, signals: [], client: undefined, request: undefined, log: undefined as never, onProgress: undefined } as const
  const job = (seq: number): Job => new Job(seq, { index: 0, name: 'job', timeout: undefined, concurrency: Infinity, priority: 'normal' }, settings, 0, () => {})
  const running = job(1)
  const ahead = job(2)
  const host = thread.host!
  host.hand([running, ahead], 0)
  start(slots, running.slot)
  t.equal(host.stop(running, new Error('stop'), 1), false)
  await gone.promise
  t.equal(started, false)
  t.match(events, [{ type: 'returned', jobs: [{ seq: 2 }] }, { type: 'crashed', job: { seq: 1 }, killed: true }])
})

t.test('a job that was cut off is known to take that long: another that can\'t make its deadline is refused, not left waiting for it', async (t) => {
  for (const [how, grace] of [['it ended late', Infinity], ['its thread was ended', 100]] as const) {
    const { workers } = await startApp(t, { grace })
    await rejection(workers.run('stubborn', { ms: 300 }, { timeout: 20 }))
    await workers.idle()
    const controller = new AbortController()
    const { ended } = await startJob(workers, 'spin', { ms: 60_000 }, { signal: controller.signal })
    t.match(await rejection(workers.run('stubborn', { ms: 300 }, { timeout: 50 })), { code: 'FC_ERR_WORKERS_OVERLOADED', reason: 'deadline' }, how)
    controller.abort()
    await rejection(ended)
  }
})

t.test('grace Infinity never ends a thread', async (t) => {
  const { workers } = await startApp(t, { grace: Infinity })
  const { threadId } = await workers.run('inspect')
  t.match(await rejection(workers.run('stubborn', { ms: 300 }, { timeout: 20 })), { code: 'FC_ERR_JOB_TIMEOUT' })
  t.equal((await workers.run('inspect')).threadId, threadId)
})

t.test('a job without a timeout has its pool\'s', async (t) => {
  const { workers } = await startApp(t, { timeout: 70 })
  t.match(await rejection(workers.run('spin', { ms: 60_000 })), { code: 'FC_ERR_JOB_TIMEOUT', message: /deadline of 70 ms/ })
})

t.test('one deadline over queue and run', async (t) => {
  const { workers } = await startApp(t, { maxWait: Infinity, targetWait: 60_000 })

  t.test('it passes while running', async (t) => {
    t.match(await rejection(workers.run('spin', { ms: 60_000 }, { timeout: 50 })), { code: 'FC_ERR_JOB_TIMEOUT', statusCode: 504, message: 'The job "spin" passed its deadline of 50 ms while running' })
    await workers.idle()
  })

  t.test('it passes while queued', async (t) => {
    const ahead = workers.run('stubborn', { ms: 300 })
    t.match(await rejection(workers.run('inspect', undefined, { timeout: 50 })), { code: 'FC_ERR_JOB_TIMEOUT', message: /50 ms while queued/ })
    t.equal(await ahead, 'stubborn')
  })

  t.test('waiting uses it up', async (t) => {
    const ahead = workers.run('stubborn', { ms: 2_000 })
    const began = performance.now()
    const error = await rejection(workers.run('rest', { ms: 60_000 }, { timeout: 3_000 }))
    t.match(error, { code: 'FC_ERR_JOB_TIMEOUT' })
    t.ok(performance.now() - began < 4_900, 'not 3,000 ms from its start')
    await ahead
  })

  t.test('a job\'s own timeout, and that of one run before it', async (t) => {
    await workers.idle()
    t.match(await rejection(workers.run('brief', { ms: 60_000 })), { code: 'FC_ERR_JOB_TIMEOUT', message: /deadline of 60 ms/ })
    await workers.idle()
    t.equal(await workers.run('brief', { ms: 100 }, { timeout: 60_000 }), 'done')
    t.equal(await workers.run('brief', { ms: 100 }, { timeout: Infinity }), 'done')
  })

  t.test('it is far', async (t) => {
    t.match(await rejection(workers.run('rest', { ms: 60_000 }, { timeout: 1_200 })), { code: 'FC_ERR_JOB_TIMEOUT', message: /1200 ms while running/ })
  })
})

t.test('a thread whose jobs were all revoked gets the next job as soon as it has seen that', async (t) => {
  const { workers } = await startApp(t)
  await workers.map('echo', Array.from({ length: 300 }, (_, n) => n)) // known to be short: 64 are handed ahead
  for (let round = 0; round < 3; round++) {
    await workers.run('tail', 60)
    await new Promise((resolve) => setTimeout(resolve, 5)) // the thread has begun to pause
    const controller = new AbortController()
    const cancelled = Array.from({ length: 64 }, () => rejection(workers.run('echo', 1, { signal: controller.signal })))
    await new Promise((resolve) => setImmediate(resolve))
    controller.abort()
    await Promise.all(cancelled)
    t.equal(await workers.run('echo', 'next', { timeout: 5_000 }), 'next')
  }
})

t.test('jobs prefetched by a thread that pauses come back, and run', async (t) => {
  const { workers } = await startApp(t)
  await workers.map('echo', Array.from({ length: 300 }, (_, n) => n))
  for (let round = 0; round < 3; round++) {
    await workers.run('tail', 60)
    await new Promise((resolve) => setTimeout(resolve, 5))
    const burst = Array.from({ length: 64 }, (_, n) => workers.run('echo', n, { timeout: 5_000 }))
    t.same(await Promise.all(burst), burst.map((_, n) => n))
  }
})

t.test('a job whose payload has moved to a thread that pauses is neither revoked nor lost', async (t) => {
  const { workers } = await startApp(t)
  await workers.map('echo', Array.from({ length: 300 }, (_, n) => n))
  for (let round = 0; round < 3; round++) {
    await workers.run('tail', 60)
    await new Promise((resolve) => setTimeout(resolve, 5))
    const buffer = new ArrayBuffer(16)
    const moved = workers.run('echo', buffer, { transferList: [buffer], timeout: 5_000 }) as Promise<ArrayBuffer>
    const behind = Array.from({ length: 20 }, (_, n) => workers.run('echo', n, { timeout: 5_000 }))
    t.equal((await moved).byteLength, 16)
    await Promise.all(behind)
  }
  t.equal(workers.stats().jobs.echo.crashed, 0)
})

t.test('an event loop that stands still for longer than the grace ends no thread whose job has stopped in time', async (t) => {
  const { workers } = await startApp(t, { grace: 30 })
  const { threadId } = await workers.run('inspect')
  const controller = new AbortController()
  const { ended } = await startJob(workers, 'spin', { ms: 60_000 }, { signal: controller.signal })
  const next = workers.run('rest', { ms: 300 })
  await new Promise((resolve) => setImmediate(resolve)) // timers come next, and messages after them
  controller.abort()
  const end = performance.now() + 150
  while (performance.now() < end); // the main thread
  await rejection(ended)
  t.equal(await next, 'rested')
  t.equal((await workers.run('inspect')).threadId, threadId)
})

t.test('a result that came while the event loop stood still counts, though the deadline has passed since', async (t) => {
  const { workers } = await startApp(t)
  await workers.run('echo', 0)
  await new Promise((resolve) => setImmediate(resolve)) // timers come next, and messages after them
  const running = workers.run('echo', 'in time', { timeout: 100 })
  await new Promise((resolve) => process.nextTick(resolve))
  const end = performance.now() + 250
  while (performance.now() < end);
  t.equal(await running, 'in time')
})

t.test('a job that stopped in time leaves no timer behind, however long the grace', async (t) => {
  const { app, workers } = await startApp(t, { grace: 60_000 })
  const controller = new AbortController()
  const { ended } = await startJob(workers, 'rest', { ms: 60_000 }, { signal: controller.signal })
  controller.abort()
  await rejection(ended)
  await workers.idle()
  await assertIdle(app)
})
