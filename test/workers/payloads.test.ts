// Any payload, result, progress value, log line or error: its caller hears what is wrong with it, and nobody else notices.
import t from 'tap'
import type { AddressInfo } from 'node:net'
import { uncloneable, type Hostile, type others } from '../fixtures/jobs/hostile.ts'
import type { Way } from '../fixtures/jobs/deliver.ts'
import { logLines, rejection, startApp as start, until, type TestWorkers } from '../helper.ts'

const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)
/** A worker thread can post it, and the main thread can't read it. */
const tooDeep = nested(6_000)
/** Admission refuses nothing: what is tested isn't overload, and the machine may be busy. */
const startApp: typeof start = (t, options, ...rest) => start(t, { maxWait: Infinity, targetWait: 60_000, ...options }, ...rest)
const codeOf = (promise: Promise<unknown>): Promise<unknown> => promise.then((value) => value, (error: { code?: unknown }) => error.code)
const deliver = (workers: TestWorkers, way: Way, text = tooDeep, times = 1): Promise<unknown> => workers.run('deliver', { text, way, times }, { timeout: Infinity })

/** The JavaScript value, nested as deep as asked, with `wide` numbers at each level. */
function deepValue (depth: number, wrap: (value: unknown) => unknown = (value) => [value]): unknown {
  let value: unknown = 1
  for (let n = 0; n < depth; n++) value = wrap(value)
  return value
}

t.test('a result that the main thread can\'t read rejects, though it has no deadline, and its thread and neighbours go on', async (t) => {
  const { workers } = await startApp(t)
  const { threadId } = await workers.run('inspect')
  for (const way of ['result', 'later'] as const) {
    const error = await rejection(deliver(workers, way))
    t.match(error, { code: 'FC_ERR_RESULT_NOT_CLONEABLE', statusCode: 500, message: /"deliver".*nested too deeply/, cause: { name: 'RangeError' } })
    // In a burst some are read one after the other, some by an event each.
    const burst = Array.from({ length: 200 }, (_, n) => codeOf(deliver(workers, way, n % 5 === 2 ? tooDeep : String(n))))
    t.same(await Promise.all(burst), burst.map((_, n) => n % 5 === 2 ? 'FC_ERR_RESULT_NOT_CLONEABLE' : n))
  }
  await workers.map('echo', Array.from({ length: 300 }, (_, n) => n))
  t.equal((await workers.run('inspect')).threadId, threadId)
})

t.test('eight kilobytes of brackets by HTTP are that request\'s 500', async (t) => {
  const { app } = await startApp(t, {}, {}, (app, workers) => app.post('/', async (request) => deliver(workers, 'result', request.body as string)))
  await app.listen({ port: 0, host: '127.0.0.1' })
  const url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
  const statuses = await Promise.all(Array.from({ length: 40 }, async (_, n) => {
    const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'text/plain' }, body: n % 10 === 3 ? nested(4_096) : '[1]' })
    return [response.status, (await response.json() as { code?: string }).code]
  }))
  t.same(statuses, statuses.map((_, n) => n % 10 === 3 ? [500, 'FC_ERR_RESULT_NOT_CLONEABLE'] : [200, undefined]))
})

t.test('progress that the main thread can\'t read is dropped, with one log line a job, and later progress arrives', async (t) => {
  const { lines, logger } = logLines()
  const { workers } = await startApp(t, {}, { logger })
  for (let round = 0; round < 2; round++) {
    const heard: unknown[] = []
    const running = workers.run('deliver', { text: tooDeep, way: 'progress', times: 1_500 }, { timeout: Infinity, onProgress: (value) => heard.push(value) })
    t.equal(await running, 'done')
    const all = await workers.run('deliver', { text: '1', way: 'progress' }, { onProgress: (value) => heard.push(value) })
    t.equal(all, 'done')
    t.same(heard.slice(-2), [1, 'heard'])
  }
  t.match(lines.filter(({ msg }) => msg.includes('nested too deeply')), [{ level: 40, job: 'deliver', jobId: Number }, { level: 40, job: 'deliver', jobId: Number }])
  t.equal(lines.filter(({ msg }) => msg.includes('nested too deeply')).length, 2)
})

t.test('a line of the log arrives without the field that the main thread could not read', async (t) => {
  const { lines, logger } = logLines()
  const { workers } = await startApp(t, {}, { logger })
  t.equal(await deliver(workers, 'log'), 'done')
  t.match(lines.find(({ msg }) => msg === 'logged'), { job: 'deliver', kept: 1, value: /not logged/ })
})

t.test('an error arrives without the field that the main thread could not read', async (t) => {
  const { workers } = await startApp(t)
  const error = await rejection(deliver(workers, 'field'))
  t.match(error, { name: 'RangeError', message: 'refused', code: 'E_REFUSED', statusCode: 422 })
  t.notOk('input' in error)
  t.match(await rejection(deliver(workers, 'field', '[[1]]')), { input: [[1]] })
  t.match(await rejection(deliver(workers, 'thrown')), { code: 'FC_ERR_JOB_THREW' })
})

t.test('a payload that its thread can\'t read rejects, alone, and its slot is free again', async (t) => {
  // The smallest stack with which a thread starts: it reads fewer levels than the main thread posts.
  const { workers } = await startApp(t, { resourceLimits: { stackSizeMb: 1 } })
  const tooDeepForThread = deepValue(2_400, (value) => ({ value }))
  t.match(await rejection(workers.run('echo', tooDeepForThread, { timeout: Infinity })), { code: 'FC_ERR_PAYLOAD_NOT_CLONEABLE', statusCode: 500, message: /nested too deeply/, cause: { name: 'RangeError' } })
  const { threadId } = await workers.run('inspect')
  await workers.map('echo', Array.from({ length: 300 }, (_, n) => n)) // known to be short: many go in one message
  const burst = Array.from({ length: 300 }, (_, n) => codeOf(workers.run('echo', n % 3 === 1 ? tooDeepForThread : n, { timeout: Infinity })))
  t.same(await Promise.all(burst), burst.map((_, n) => n % 3 === 1 ? 'FC_ERR_PAYLOAD_NOT_CLONEABLE' : n))

  const buffer = new ArrayBuffer(8)
  t.match(await rejection(workers.run('echo', { buffer, tooDeepForThread }, { transferList: [buffer] })), { code: 'FC_ERR_PAYLOAD_NOT_CLONEABLE' })
  const controller = new AbortController()
  const aborted = [tooDeepForThread, 1].map((payload) => codeOf(workers.run('echo', payload, { signal: controller.signal })))
  process.nextTick(() => process.nextTick(() => controller.abort()))
  await Promise.all(aborted)
  await workers.idle()
  t.equal((await workers.run('inspect')).threadId, threadId)
})

t.test('a payload that the main thread can\'t post rejects, alone', async (t) => {
  const { workers } = await startApp(t)
  await workers.map('echo', Array.from({ length: 300 }, (_, n) => n))
  const burst = Array.from({ length: 200 }, (_, n) => codeOf(workers.run('echo', n % 7 === 3 ? deepValue(20_000) : n)))
  t.same(await Promise.all(burst), burst.map((_, n) => n % 7 === 3 ? 'FC_ERR_PAYLOAD_NOT_CLONEABLE' : n))
  t.match(await rejection(workers.run('echo', deepValue(20_000))), { message: /payload is nested too deeply/, cause: { name: 'RangeError' } })
})

t.test('a getter of a payload may abort its own job or start others', async (t) => {
  const { workers } = await startApp(t)
  for (const throws of [true, false]) {
    for (let n = 0; n < 100; n++) {
      const controller = new AbortController()
      const payload = { get part () { controller.abort(); if (throws) throw new Error('no'); return n } }
      t.equal(await codeOf(workers.run('echo', payload, { signal: controller.signal })), throws ? 'FC_ERR_PAYLOAD_NOT_CLONEABLE' : 'FC_ERR_JOB_ABORTED')
    }
  }
  t.same(await workers.map('echo', [1, 2, 3]), [1, 2, 3])
})

t.test('a payload that ends the thread that reads it ends two threads at most, and no other job is lost', async (t) => {
  const { workers } = await startApp(t, { maxThreads: 2, resourceLimits: { maxOldGenerationSizeMb: 24, maxYoungGenerationSizeMb: 4 } })
  await workers.map('echo', Array.from({ length: 300 }, (_, n) => n))
  const deadly = Array.from({ length: 1_000_000 }, () => ({}))
  const burst = Array.from({ length: 40 }, (_, n) => codeOf(workers.run('echo', n === 20 ? deadly : n, { timeout: Infinity })))
  t.same(await Promise.all(burst), burst.map((_, n) => n === 20 ? 'FC_ERR_JOB_CRASHED' : n))
  const error = await rejection(workers.run('echo', deadly))
  t.match(error, { code: 'FC_ERR_JOB_CRASHED', message: /out of memory/ })
  t.match(workers.stats().jobs, { echo: { crashed: 2 } })
  t.same(await workers.map('echo', [1, 2, 3]), [1, 2, 3])
})

t.test('progress that can\'t be cloned throws where it is reported, and later progress arrives', async (t) => {
  const { workers } = await startApp(t)
  const heard: unknown[] = []
  t.equal(await workers.run('hostile', { mute: 3_000 }, { onProgress: (value) => heard.push(value) }), 'done')
  t.same(heard, [{ refused: 3_000 }])
})

t.test('a hostile job', async (t) => {
  const { lines, logger } = logLines()
  const { workers } = await startApp(t, {}, { logger })
  const { threadId } = await workers.run('inspect')
  const run = (way: Hostile): Promise<unknown> => workers.run('hostile', way, { timeout: Infinity })

  for (const way of Object.keys(uncloneable) as Array<keyof typeof uncloneable>) {
    t.test(`may return what can't be sent, and gets an error: ${way}`, async (t) => {
      const error = await rejection(run({ way }))
      t.match(error, { code: 'FC_ERR_RESULT_NOT_CLONEABLE', statusCode: 500 })
      t.ok(error.message.length < 600, error.message.slice(0, 600))
    })
  }

  t.test('gets an error that says what is wrong with its transferList', async (t) => {
    t.match(await rejection(run({ way: 'number' })), { message: /the transferList is not an array/, cause: { message: /array of ArrayBuffers/ } })
    t.match(await rejection(run({ way: 'twice' })), { message: /the transferList/ })
  })

  for (const [way, expected] of Object.entries({
    twiceThenable: 'first',
    ownThen: 'adopted',
    throwingThen: { message: 'then' },
    proxyResult: { message: 'trap' },
    thrownProxy: { message: 'An error that can\'t be read' },
    thrownEndless: { code: 'E_ENDLESS' },
    thrownPort: { code: 'E_PORT' },
    thrownWide: { code: 'E_WIDE', field50: 50 },
    getterInLog: 'done',
    portInLog: 'done',
    logInGetter: { part: 1 },
    sharedInLog: 'done',
    sharedInLoggedError: 'done',
    sharedInThrownError: { message: 'shared', code: 'E_SHARED', value: undefined },
    sharedThrown: { code: 'FC_ERR_JOB_THREW', cause: undefined },
    longInLog: 'done'
  } satisfies Record<keyof typeof others, unknown>)) {
    t.test(`is its own problem: ${way}`, async (t) => {
      t.match(await run({ way: way as keyof typeof others }).catch((error: unknown) => error), expected)
      t.equal(await workers.run('echo', way), way, 'the next job gets its own result')
    })
  }

  t.test('ends no thread, and its lines are in the log', async (t) => {
    t.equal((await workers.run('inspect')).threadId, threadId)
    t.match(lines.filter(({ msg }) => /^with a|^in a/.test(msg)), [{ msg: 'with a getter' }, { msg: 'with a port', kept: 1 }, { msg: 'in a getter' }])
  })

  t.test('can log nothing that would hold the event loop while it is written', async (t) => {
    const [value, error] = lines.filter(({ msg }) => msg === 'with shared parts')
    t.match(value, { value: /not logged/, kept: 1 })
    t.match(error, { err: { message: 'with shared parts', code: 'E_KEPT', value: undefined } })
    const long = lines.find(({ msg }) => msg.startsWith('long')) ?? t.fail('it is in the log')
    t.match(long, { value: /not logged/, kept: 1 })
    t.ok(JSON.stringify(long).length < 10_000)
  })
})

t.test('wrong transferLists of run() reject that run', async (t) => {
  const { workers } = await startApp(t)
  const { threadId } = await workers.run('inspect')
  const buffer = new ArrayBuffer(8)
  for (const transferList of [5, 'text', buffer, {}, () => {}]) {
    t.match(await rejection(workers.run('echo', 1, { transferList: transferList as never })), { code: 'FC_ERR_OPTION_INVALID', message: /run\.transferList/ })
  }
  for (const transferList of [[1], [null], [{}], [buffer, buffer]]) {
    t.match(await rejection(workers.run('echo', 1, { transferList: transferList as never })), { code: 'FC_ERR_PAYLOAD_NOT_CLONEABLE', message: /the transferList/ })
  }
  t.equal(buffer.byteLength, 8, 'what was not sent has not moved')
  t.equal((await workers.run('inspect')).threadId, threadId)
})

t.test('the reason of a thread\'s death is in the log and in `cause`, never in the answer to the client whose job ran then', async (t) => {
  const { lines, logger } = logLines()
  const secret = '/data/tenant-a/secret.txt'
  const { app, workers } = await startApp(t, {}, { logger }, (app, workers) => app.get('/', async () => workers.run('spin', { ms: 200 })))
  for (const leave of ['timer', 'rejection', 'notAnError'] as const) {
    // The leftover throws as soon as its thread has a turn: in the promise of an innocent job, which waits for nothing.
    await workers.run('hostile', { leave, secret })
    const error = await rejection(workers.run('rest', { ms: 60_000 }))
    t.match(error, { code: 'FC_ERR_JOB_CRASHED', statusCode: 500 })
    t.notMatch(error.message, /tenant|secret|ENOENT/)
    t.match(String((error.cause as Error).message) + String((error.cause as Error).cause), /tenant-a/)
  }

  await workers.run('hostile', { leave: 'timer', secret })
  const response = await app.inject('/')
  if (response.statusCode === 500) {
    t.equal(response.json<{ code: string }>().code, 'FC_ERR_JOB_CRASHED')
    t.notMatch(response.body, /tenant|secret|ENOENT/)
  }
  await until(() => lines.some((line) => JSON.stringify(line).includes('tenant-a')), 'the log has the details')
})

t.test('a logger that throws ends neither the process nor a job', async (t) => {
  const { workers, app } = await startApp(t, {}, { logger: { level: 'info', stream: { write () {} }, serializers: { value () { throw new Error('serializer') }, err () { throw new Error('serializer') } } } })
  t.equal(await deliver(workers, 'log', '1'), 'done')
  t.same(await workers.run('echo', 1), 1)
  await app.close()
})

t.test('the search for what can\'t be cloned holds the event loop for about as long as a clone does', async (t) => {
  const { workers } = await startApp(t, { timeout: 60_000 })
  const wide = (n: number): unknown[] => Array.from({ length: n }, (_, i) => ({ i }))
  const bad = (): void => {}
  const shapes: Record<string, unknown> = {
    'deep and wide': deepValue(2_000, (value) => [...wide(50), value, bad]),
    'too deep, and wide at each level': deepValue(20_000, (value) => [1, 2, 3, 4, 5, 6, 7, 8, value]),
    wide: [...wide(300_000), bad],
    'many keys': { ...Object.fromEntries(Array.from({ length: 200_000 }, (_, n) => [`key${n}`, n])), bad },
    'a long key': { ['k'.repeat(1_000_000)]: { ['l'.repeat(1_000_000)]: bad } },
    sparse: Object.assign(new Array(4_000_000_000), { 3_999_999_999: bad }),
    'a map of maps': new Map(Array.from({ length: 50_000 }, (_, n) => [n, new Map([[n, n === 49_999 ? bad : n]])])),
    cycle: (() => { const all: Array<Record<string, unknown>> = Array.from({ length: 1_000 }, () => ({})); all.forEach((each, n) => { each['next'] = all[(n + 1) % 1_000]; each['all'] = all }); return { all, bad } })(),
    'large buffers': { buffers: Array.from({ length: 20 }, () => new ArrayBuffer(10_000_000)), bad }
  }
  for (const [shape, payload] of Object.entries(shapes)) {
    const clone = held(() => { try { structuredClone(payload) } catch { /* it can't be cloned */ } })
    let error!: Error & Record<string, unknown>
    const before = performance.now()
    const running = rejection(workers.run('echo', payload)).then((rejected) => { error = rejected })
    await running
    const took = performance.now() - before
    t.match(error, { code: 'FC_ERR_PAYLOAD_NOT_CLONEABLE' }, shape)
    t.ok(error.message.length < 600, shape)
    // A search that looks at everything again for each key would take minutes.
    t.ok(took < 5 * clone + 1_000, `${shape}: ${took.toFixed()} ms, structuredClone ${clone.toFixed()} ms`)
  }
})

function held (work: () => void): number {
  const before = performance.now()
  work()
  return performance.now() - before
}
