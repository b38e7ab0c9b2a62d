import t from 'tap'
import Fastify from 'fastify'
import { currentRequest } from '../../plugins/cancellation/index.ts'
import { move } from 'piscina'
import { refused } from '../../plugins/workers/channels.ts'
import workersPlugin, { type RunOptions, type Workers } from '../../plugins/workers/index.ts'
import { jobs as functions } from '../fixtures/functions.ts'
import { jobs } from '../fixtures/jobs.ts'
import { execArgv, logLines, rejection, startApp, until, type TestWorkers } from '../helper.ts'

t.test('a job runs on a worker thread and its result comes back', async (t) => {
  const { workers } = await startApp(t)
  t.same(await workers.run('echo', { list: [1, new Date(0)], map: new Map([['a', 1n]]) }), { list: [1, new Date(0)], map: new Map([['a', 1n]]) })
  t.equal(await workers.run('echo', undefined), undefined)
  const { threadId } = await workers.run('inspect')
  t.not(threadId, 0, 'not on the main thread')
})

t.test('a job is a function as it is, or an object that says how threads load it', async (t) => {
  const { workers: decorated } = await startApp(t, { jobs: functions })
  const workers = decorated as unknown as Workers<typeof functions>
  t.equal(await workers.run('onMain'), false)
  t.equal(await workers.run('named', 7), 'named 7')
  t.equal(await workers.run('echo', 1), 1)
})

t.test('what piscina\'s move() made is refused, both ways, with the name of what to use instead', async (t) => {
  const { workers: decorated } = await startApp(t, { jobs: functions })
  const workers = decorated as unknown as Workers<typeof functions>
  t.match(await rejection(workers.run('moved')), { code: 'FC_ERR_RESULT_NOT_CLONEABLE', message: /move\(\) has no effect here: return transfer\(/ })
  const payload = move(new ArrayBuffer(8))
  t.match(await rejection(workers.run('echo', payload)), { code: 'FC_ERR_PAYLOAD_NOT_CLONEABLE', message: /move\(\) has no effect here: .*transferList/ })
  t.equal(await workers.run('echo', 1), 1)
})

t.test('canRun() says what run() would do, and does nothing', async (t) => {
  const { app, workers } = await startApp(t, { maxQueue: 1 })
  t.equal(workers.canRun('spin'), true)
  const controller = new AbortController()
  const running = rejection(workers.run('spin', { ms: 60_000 }, { signal: controller.signal, key: 'a' }))
  await until(() => workers.stats().running === 1, 'it runs')
  t.equal(workers.canRun('spin', { key: 'a' }), true, 'one may wait')
  const waiting = rejection(workers.run('spin', { ms: 60_000 }, { signal: controller.signal, key: 'a' }))
  const before = workers.stats()
  t.equal(workers.canRun('spin', { key: 'a' }), false)
  t.equal(workers.canRun('spin', { key: 'b' }), false)
  t.same(workers.stats(), before, 'a question is not counted')
  t.match(await rejection(workers.run('spin', { ms: 1 }, { key: 'a' })), { code: 'FC_ERR_WORKERS_OVERLOADED' })
  t.throws(() => workers.canRun('nope' as 'spin'), { code: 'FC_ERR_JOB_UNKNOWN' })
  t.throws(() => workers.canRun('spin', { timeOut: 1 } as RunOptions), { code: 'FC_ERR_OPTION_INVALID' })
  controller.abort()
  await Promise.all([running, waiting, workers.idle()])
  t.equal(workers.canRun('spin'), true)
  await app.close()
  t.equal(workers.canRun('spin'), false, 'a closed pool runs nothing')
})

t.test('several threads run several jobs at once, each one at a time', async (t) => {
  const { workers } = await startApp(t, { maxThreads: 2 })
  const flags = new Int32Array(new SharedArrayBuffer(8))
  t.same(await Promise.all([workers.run('meet', { flags, mine: 0, other: 1 }), workers.run('meet', { flags, mine: 1, other: 0 })]), ['met', 'met'])
})

t.test('the event loop stays free while a job computes', async (t) => {
  const { workers } = await startApp(t)
  let turns = 0
  const timer = setInterval(() => turns++, 1)
  await workers.run('spin', { ms: 200 })
  clearInterval(timer)
  t.ok(turns > 10, `${turns} turns`)
})

t.test('an unknown job rejects with the names that there are', async (t) => {
  const { workers } = await startApp(t)
  // @ts-expect-error it doesn't compile either
  const error = await rejection(workers.run('nope', {}))
  t.match(error, { code: 'FC_ERR_JOB_UNKNOWN', statusCode: 500, message: 'There is no job named "nope"', known: ['echo', 'spin'] })
  // @ts-expect-error a name of Object.prototype is no job
  t.match(await rejection(workers.run('constructor', {})), { code: 'FC_ERR_JOB_UNKNOWN' })
})

t.test('jobs of one key run in the order of their calls', async (t) => {
  const { workers } = await startApp(t)
  const order: number[] = []
  await Promise.all([1, 2, 3, 4, 5, 6].map(async (n) => { await workers.run('spin', { ms: 2 }); order.push(n) }))
  t.same(order, [1, 2, 3, 4, 5, 6])
})

t.test('the key and the priority of a job decide which job is next', async (t) => {
  const { app, workers } = await startApp(t, { maxWait: Infinity, targetWait: 60_000 }, {}, (app, workers) => app.get('/', async () => workers.run('spin', { ms: 5 })))
  const inject = (remoteAddress: string) => (): Promise<unknown> => app.inject({ url: '/', remoteAddress })
  for (const [what, many, one] of [
    ['its client', inject('10.0.0.1'), inject('10.0.0.2')],
    ['its key', () => workers.run('spin', { ms: 5 }, { key: 'many' }), () => workers.run('spin', { ms: 5 }, { key: 'one' })],
    ['its priority', () => workers.run('spin', { ms: 5 }), () => workers.run('spin', { ms: 5 }, { priority: 'high' })],
    ['the priority of its name', () => workers.run('spin', { ms: 5 }), () => workers.run('urgent', { ms: 5 })]
  ] as const) {
    const controller = new AbortController()
    // Of a name and a key of its own: a run that is cut off says nothing of the others.
    const ahead = rejection(workers.run('single', { ms: 60_000 }, { key: `ahead of ${what}`, signal: controller.signal }))
    await until(() => workers.stats().running === 1, 'one is ahead')
    const order: string[] = []
    const all = Array.from({ length: 8 }, async () => { await many(); order.push('many') })
    await until(() => workers.stats().waiting === 8, 'many wait')
    const last = one().then(() => order.push('one'))
    await until(() => workers.stats().waiting === 9, 'one waits too')
    controller.abort()
    await Promise.all([...all, ahead, last])
    t.ok(order.indexOf('one') < 4, `${what}: ${order.join()}`)
  }
})

t.test('a name\'s concurrency leaves the other threads free', async (t) => {
  const { workers } = await startApp(t, { maxThreads: 2 })
  const controller = new AbortController()
  const capped = [1, 2].map(() => rejection(workers.run('single', { ms: 60_000 }, { signal: controller.signal })))
  await until(() => workers.stats().running === 1, 'it runs')
  t.equal(await workers.run('echo', 1), 1)
  t.match(workers.stats(), { running: 1, waiting: 1 })
  controller.abort()
  await Promise.all(capped)
})

t.test('progress reaches the caller, in order, before the result', async (t) => {
  const { workers } = await startApp(t)
  const seen: unknown[] = []
  await workers.run('talk', 3, { onProgress: (value) => seen.push(value) })
  t.same(seen, [{ step: 1 }, { step: 2 }, { step: 3 }])
})

t.test('an onProgress that throws stops the job and rejects with its error', async (t) => {
  const { workers } = await startApp(t)
  const error = await rejection(workers.run('spin', { ms: Infinity }, { onProgress: () => { throw new Error('mine') } }))
  t.equal(error.message, 'mine')
  await workers.idle()
  t.equal(workers.stats().jobs.spin.failed, 1)
})

t.test('a caller that has its answer receives no more progress', async (t) => {
  const { workers } = await startApp(t)
  const controller = new AbortController()
  const heard: unknown[] = []
  await rejection(workers.run('report', 'flood', { signal: controller.signal, onProgress: (value) => { heard.push(value); controller.abort() } }))
  await workers.idle()
  t.same(heard, [0])
})

t.test('the context identifies the job', async (t) => {
  const { workers } = await startApp(t)
  const before = Date.now()
  const context = await workers.run('talk', 0, { timeout: 60_000 }) as { id: string, name: string, attempt: number, deadline: number, aborted: boolean }
  t.match(context, { id: /^\d+$/, name: 'talk', attempt: 1, aborted: false })
  t.ok(context.deadline >= before + 59_000 && context.deadline <= Date.now() + 60_000, 'the deadline is an instant')
  t.equal((await workers.run('talk', 0, { timeout: Infinity }) as { deadline: number }).deadline, Infinity)
  const ahead = workers.run('spin', { ms: 300 })
  const called = Date.now()
  const { deadline } = await workers.run('talk', 0, { timeout: 60_000 }) as { deadline: number }
  t.ok(Math.abs(deadline - called - 60_000) < 150, 'it counts from the call')
  await ahead
})

t.test('a job logs through the application, with the request, the job and its id on every line', async (t) => {
  const { lines, logger } = logLines()
  const { app } = await startApp(t, {}, { logger }, (app, workers) => app.get('/', async () => workers.run('talk', 0)))
  await app.inject('/')
  const said = lines.filter(({ job }) => job === 'talk')
  t.match(said, [
    { level: 30, msg: 'talked', steps: 0, reqId: 'req-1', jobId: 1 },
    { level: 40, msg: 'plainly', reqId: 'req-1', jobId: 1 },
    { level: 50, msg: 'unclonable fields', kept: '1', reqId: 'req-1' },
    { level: 20, msg: 'job completed', durationMs: Number, waitMs: Number, reqId: 'req-1', jobId: 1 }
  ])
  t.equal(said.length, 4)
})

t.test('buffers move in and out, and are not copied', async (t) => {
  const { workers } = await startApp(t)
  const input = new ArrayBuffer(1024)
  const first = await workers.run('move', input, { transferList: [input] })
  t.equal(input.byteLength, 0, 'gone from here')
  t.same([first.received, first.output.byteLength], [1024, 2048])
  const again = new ArrayBuffer(8)
  t.equal((await workers.run('move', again)).keptBefore, 0, 'the result had moved out of the thread')
  t.equal(again.byteLength, 8, 'without a transferList it is copied')
})

t.test('several transfers in one burst each get their own', async (t) => {
  const { workers } = await startApp(t, { maxThreads: 2 })
  await workers.map('echo', Array.from({ length: 50 }, (_, n) => n)) // known to be short: would be handed ahead
  const sizes = Array.from({ length: 40 }, (_, n) => n + 1)
  const results = await Promise.all(sizes.map(async (size) => {
    const input = new ArrayBuffer(size)
    return (await workers.run('move', input, { transferList: [input] })).received
  }))
  t.same(results, sizes)
})

t.test('idle() resolves at once when nothing runs, otherwise when all jobs have ended', async (t) => {
  const { workers } = await startApp(t)
  await workers.idle()
  let ended = 0
  for (let n = 0; n < 5; n++) void workers.run('spin', { ms: 1 }).then(() => ended++)
  await workers.idle()
  t.match(workers.stats(), { running: 0, waiting: 0 })
  await until(() => ended === 5, 'all callers have heard')
})

t.test('idle() resolves when a job leaves the queue while nothing runs, and when a job is refused at its turn', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(workersPlugin, { jobs, maxThreads: 1, execArgv })
  const workers = app.getDecorator<TestWorkers>('workers')
  const controller = new AbortController()
  const early = rejection(workers.run('echo', 1, { signal: controller.signal }))
  const left = workers.idle()
  controller.abort()
  await Promise.all([early, left])
  await app.ready()

  for (let n = 0; n < 3; n++) await workers.run('spin', { ms: 400 })
  const ahead = workers.run('stubborn', { ms: 300 })
  const refused = rejection(workers.run('spin', { ms: 400 }, { timeout: 600 }))
  await Promise.all([ahead, workers.idle()])
  t.match(await refused, { code: 'FC_ERR_WORKERS_OVERLOADED', reason: 'deadline' })
})

t.test('run() before ready waits for the threads', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(workersPlugin, { jobs, maxThreads: 1, execArgv })
  t.equal(await app.getDecorator<TestWorkers>('workers').run('echo', 1), 1)
  await app.ready()
})

t.test('run() after close rejects with 503, and is a refusal in the channel and the counts', async (t) => {
  const { app, workers } = await startApp(t)
  const refusals: unknown[] = []
  const listener = (message: unknown): void => { refusals.push(message) }
  refused.subscribe(listener)
  t.teardown(() => refused.unsubscribe(listener))
  await app.close()
  t.match(await rejection(workers.run('echo', 1)), { code: 'FC_ERR_CLOSING', statusCode: 503, headers: { connection: 'close' } })
  t.match(refusals, [{ server: app.server, kind: 'job', name: 'echo', pool: 'workers', reason: 'closing' }])
  t.match(workers.stats(), { running: 0, waiting: 0, jobs: { echo: { refused: { closing: 1 } } } })
  workers.run('echo', 1) // Nobody awaits it: as other refusals, it must not end the process.
})

t.test('two pools in one app, each with its jobs and threads', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(workersPlugin, { jobs, maxThreads: 1, execArgv })
  await app.register(workersPlugin, { jobs, decorator: 'images', maxThreads: 1, execArgv, env: { POOL: 'images' } })
  await app.ready()
  t.equal((await app.getDecorator<TestWorkers>('images').run('inspect')).env['POOL'], 'images')
  t.equal((await app.getDecorator<TestWorkers>('workers').run('inspect')).env['POOL'], undefined)
})

t.test('two pools of one name are refused at boot, and leave no thread behind', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(workersPlugin, { jobs, maxThreads: 1, execArgv })
  await t.rejects(async () => { await app.register(workersPlugin, { jobs, execArgv }) }, { code: 'FC_ERR_OPTION_INVALID', message: /workers\.decorator.*'workers'/ })
})

t.test('env and execArgv reach the threads', async (t) => {
  const { workers } = await startApp(t, { env: { ONLY: 'this' }, execArgv: [...execArgv, '--no-deprecation'] })
  const seen = await workers.run('inspect')
  t.equal(seen.env['ONLY'], 'this')
  t.equal(seen.env['PATH'], undefined)
  t.ok(seen.execArgv.includes('--no-deprecation'))
})

t.test('statistics count the outcome of each job', async (t) => {
  const { workers } = await startApp(t, { maxThreads: 1 })
  await workers.run('echo', 1)
  await rejection(workers.run('fail', 'type'))
  await rejection(workers.run('spin', { ms: 10_000 }, { timeout: 30 }))
  await rejection(workers.run('rest', { ms: 10_000 }, { signal: AbortSignal.timeout(20) }))
  await rejection(workers.run('die', 'exit'))
  await workers.idle()
  const { jobs, ...pool } = workers.stats()
  t.match(pool, { maxThreads: 1, running: 0, waiting: 0 })
  t.match(jobs.echo, { completed: 1, failed: 0, aborted: 0, expired: 0, crashed: 0, refused: { count: 0, wait: 0, deadline: 0, shed: 0 } })
  t.match([jobs.fail.failed, jobs.spin.expired, jobs.rest.aborted, jobs.die.crashed], [1, 1, 1, 1])
  t.match([jobs.spin, jobs.rest, jobs.die], [{ completed: 0, failed: 0 }, { completed: 0, failed: 0 }, { completed: 0, failed: 0 }], 'each once')
  t.match([jobs.fail.run, jobs.fail.wait], [{ count: 1 }, { count: 1 }], 'what failed has run too')
  t.match(jobs.echo.run, { count: 1, p50: Number, p99: Number, max: Number })
  t.same(jobs.move.run, { count: 0, mean: 0, p50: 0, p90: 0, p99: 0, max: 0 }, 'no NaN where nothing was measured')
})

t.test('an error in a job\'s log keeps its type, code and stack, and one in a field too', async (t) => {
  const { lines, logger } = logLines()
  const { workers } = await startApp(t, {}, { logger })
  await workers.run('report', 'error')
  t.match(lines.filter(({ level }) => level >= 40), [
    { level: 50, msg: 'it broke', err: { type: 'TypeError', message: 'boom', code: 'E_BOOM', stack: /report\.ts/ } },
    { level: 40, msg: 'in a field', err: { message: 'inner' }, at: 3 }
  ])
})

t.test('a log line that comes after its job\'s end is not logged as another job\'s', async (t) => {
  const { lines, logger } = logLines()
  const { app, workers } = await startApp(t, {}, { logger }, (app, workers) => app.get('/', async () => workers.run('rest', { ms: 100 })))
  await workers.run('report', 'late')
  await app.inject('/')
  t.match(lines.filter(({ msg }) => msg === 'late'), [{ job: 'report', jobId: 1, reqId: undefined }])
})

t.test('a job that logs without end loses lines, never the main thread\'s memory or turns, and the log says so', async (t) => {
  const { lines, logger } = logLines()
  const { workers } = await startApp(t, {}, { logger })
  const heard: unknown[] = []
  let turns = 0
  const timer = setInterval(() => turns++, 1)
  await workers.run('report', 'flood', { onProgress: (value) => { heard.push(value) } })
  clearInterval(timer)
  const dropped = lines.find(({ msg }) => /more than the main thread could receive/.test(msg))?.['dropped'] as number | undefined ?? 0
  t.equal(lines.filter(({ msg }) => msg === 'flood').length + heard.length + dropped, 40_000, 'what was dropped is counted')
  t.ok(dropped > 0, `${dropped} dropped`)
  t.match(lines.find(({ msg }) => msg === 'the last words'), { level: 50 }, 'an error is not lost among them')
  t.same(heard, heard.toSorted((a, b) => (a as number) - (b as number)), 'in order')
})

t.test('lines that were received don\'t count against the bound on lines', async (t) => {
  const { workers } = await startApp(t)
  let heard = 0
  for (let n = 0; n < 4; n++) await workers.run('talk', 500, { onProgress: () => { heard++ } })
  t.equal(heard, 2_000)
})

t.test('onProgress runs in the context of its request, and an asynchronous one that rejects rejects the run', async (t) => {
  const seen: unknown[] = []
  const { app, workers } = await startApp(t, {}, {}, (app, workers) => {
    app.get('/', async () => workers.run('talk', 1, { onProgress: () => { seen.push(currentRequest()?.id) } }))
  })
  await app.inject('/')
  t.same(seen, ['req-1'])
  const failing = (): void => { return Promise.reject(new Error('later')) as unknown as void } // what an async function is here
  t.equal((await rejection(workers.run('rest', { ms: 10_000 }, { onProgress: failing }))).message, 'later')
  await workers.idle()
})

t.test('Retry-After includes the jobs that run', async (t) => {
  const { workers } = await startApp(t, { maxQueue: 0, grace: 20 })
  await workers.run('stubborn', { ms: 2_500 })
  const running = workers.run('stubborn', { ms: 2_500 })
  const refused = await rejection(workers.run('echo', 1))
  t.equal(refused['code'], 'FC_ERR_WORKERS_OVERLOADED')
  t.ok(refused['retryAfter'] as number >= 2, `${refused['retryAfter'] as number} s`)
  await running
})
