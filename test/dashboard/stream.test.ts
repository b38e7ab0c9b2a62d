// What an open page is sent: samples, incidents with their cause, running jobs, the shutdown. Over real sockets.
import { EventEmitter, once } from 'node:events'
import { request as httpRequest, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { Incident } from '../../plugins/dashboard/incidents.ts'
import type { ShownJob } from '../../plugins/dashboard/running-jobs.ts'
import type { Status } from '../../plugins/dashboard/status/watch.ts'
import type { Sample } from '../../plugins/dashboard/sample.ts'
import dashboard from '../../plugins/dashboard/index.ts'
import concurrency from '../../plugins/index.ts'
import * as lifecycleChannels from '../../plugins/lifecycle/channels.ts'
import metrics from '../../plugins/metrics/index.ts'
import { defineTasks, type EngineFactory } from '../../plugins/tasks/index.ts'
import { memoryEngine } from '../../plugins/tasks/named/engine.ts'
import { makeCertificate } from '../certificate.ts'
import { jobs } from '../fixtures/jobs.ts'
import { jobs as odd, oddName } from '../fixtures/odd-jobs.ts'
import type { Jobs } from '../../workers/jobs.ts'
import * as jobChannels from '../../plugins/workers/channels.ts'
import type { Workers } from '../../plugins/workers/index.ts'
import { deferred, execArgv, logLines, rejection, startJob, until, type TestWorkers } from '../helper.ts'
import { listenTo, processOf, send, startDashboard } from './helper.ts'

interface Hello { samples: Sample[], incidents: Incident[] }

t.test('a refusal is on the page within 1.5 s, with its route, its cause and when to come back', async (t) => {
  const { app, port } = await startDashboard(t, { workers: { jobs, maxThreads: 1, maxQueue: 1, execArgv } }, (app) => {
    app.get('/work/:id', async () => app.getDecorator<TestWorkers>('workers').run('spin', { ms: 60_000 }))
  })
  const workers = app.getDecorator<TestWorkers>('workers')
  const page = await listenTo(t, port)
  const controller = new AbortController()
  const { ended } = await startJob(workers, 'spin', { ms: 60_000 }, { signal: controller.signal })
  const waiting = rejection(workers.run('echo', 1, { signal: controller.signal }))
  const refusedAt = performance.now()
  t.equal((await send(port, '/work/7')).status, 503)
  const [incident] = await page.next<Incident[]>('incidents')
  t.ok(performance.now() - refusedAt < 10_000)
  t.match(incident, { kind: 'refused', subject: 'job spin', routes: [{ route: 'GET /work/:id', count: 1 }], reason: '1 job waited, and at most 1 may wait', retryAfter: Number, count: 1 })
  controller.abort()
  await Promise.all([rejection(ended), waiting])

  const late = await listenTo(t, port)
  const hello = await late.next<Hello>('hello')
  t.match(hello.incidents, [{ subject: 'job spin' }], 'a page that is opened later has it too')
  t.ok(hello.samples.some(({ jobs }) => jobs.some(({ name, refused }) => name === 'spin' && refused.count > 0)))
})

t.test('refusals of limits show no key, and equal ones are one incident with a count', async (t) => {
  const { port } = await startDashboard(t, { workers: false, limiter: { policies: { few: { rate: 0.001, burst: 1, key: { header: 'x-key' } } } } }, (app) => { app.get('/', async () => 'ok') })
  const page = await listenTo(t, port)
  await page.next('sample')
  const asked = await Promise.all(Array.from({ length: 40 }, async () => send(port, '/', { headers: { 'x-key': '<b>secret-key</b>' } })))
  t.equal(asked.filter(({ status }) => status === 429).length, 39)
  const [incident] = await page.next<Incident[]>('incidents', ([incident]) => incident?.count === 39)
  const late = await listenTo(t, port)
  t.strictSame((await late.next<Hello>('hello')).incidents, [incident], 'and one only')
  t.match(incident, { subject: 'limit few', routes: [{ route: 'GET /', count: 39 }], reason: /^it needed 1 token and its bucket had 0(\.\d+)? of 1; a token comes back every/, client: { client: /^[0-9a-f]{8}$/, share: 1 } })
  t.notMatch(JSON.stringify(page.messages), 'secret-key')
  await page.next<Sample>('sample', ({ limits }) => limits.some(({ granted, refused }) => granted > 0 || refused > 0))
})

t.test('the page and its stream take nothing from a limit', async (t) => {
  const { port } = await startDashboard(t, { workers: false, limiter: { policies: { few: { rate: 0.001, burst: 1 } } } }, (app) => { app.get('/', async () => 'ok') })
  t.equal((await send(port, '/')).status, 200)
  t.equal((await send(port, '/')).status, 429)
  for (let n = 0; n < 5; n++) t.equal((await send(port, '/dashboard/')).status, 200)
  await (await listenTo(t, port)).next('hello')
})

t.test('running jobs are shown with age and progress, and one is cancelled; an unknown or finished one is not', async (t) => {
  const { app, port } = await startDashboard(t)
  const workers = app.getDecorator<TestWorkers>('workers')
  const page = await listenTo(t, port)
  const { ended } = await startJob(workers, 'spin', { ms: 60_000 })
  const [job] = await page.next<ShownJob[]>('jobs', ({ length }) => length > 0)
  t.match(job, { pool: 'workers', name: 'spin', aborted: false, doing: 'started' })
  t.ok((job?.runMs ?? -1) >= 0)
  const { process } = await page.next<{ process: string }>('hello')
  const cancel = (pool: string, id: string): Promise<{ status: number }> =>
    send(port, `/dashboard/cancel?${new URLSearchParams({ pool, id, process }).toString()}`, { method: 'POST', headers: { origin: `http://127.0.0.1:${port}` } })
  for (const [pool, id] of [['workers', '999'], ['workers', ''], ['nobody', String(job?.id)], ['__proto__', String(job?.id)], ['close', ''], ['lifecycle', String(job?.id)]] as const) t.equal((await cancel(pool, id)).status, 404, `${pool} ${id}`)
  t.equal((await cancel('workers', String(job?.id))).status, 200)
  const error = await rejection(ended)
  t.match(error, { code: 'FC_ERR_JOB_ABORTED' })
  t.match((error.cause as Error).message, /cancelled by an operator/)
  await page.next<Incident[]>('incidents', (incidents) => incidents.some(({ kind, subject, reason }) => kind === 'noted' && subject === 'job spin' && reason === 'it was cancelled on the dashboard'))
  t.equal((await cancel('workers', String(job?.id))).status, 404, 'it has ended')
  await page.next<ShownJob[]>('jobs', ({ length }) => length === 0)
})

t.test('requests of the page are no lines of the log, and a cancel is one; an application that has closed is listened to no longer', async (t) => {
  const { lines, logger } = logLines()
  const { app, port } = await startDashboard(t, {}, () => {}, { logger })
  const page = await listenTo(t, port)
  for (const path of ['/dashboard/', '/dashboard/main.js']) t.equal((await send(port, path)).status, 200)
  t.strictSame(lines.filter(({ msg }) => /request/.test(msg)), [])
  const { ended } = await startJob(app.getDecorator<TestWorkers>('workers'), 'spin', { ms: 60_000 })
  await send(port, `/dashboard/cancel?pool=workers&id=1&process=${await processOf(t, port)}`, { method: 'POST', headers: { origin: `http://127.0.0.1:${port}` } })
  await rejection(ended)
  t.match(lines.filter(({ level }) => level === 40), [{ msg: 'a job was cancelled on the dashboard', jobId: '1' }])
  page.close()
  await app.close()
  t.strictSame(Object.values({ ...lifecycleChannels, ...jobChannels }).filter(({ hasSubscribers }) => hasSubscribers).map(({ name }) => name), [])
})

t.test('a crash and the thread that takes over are failures with their cause', async (t) => {
  const { app, port } = await startDashboard(t)
  const page = await listenTo(t, port)
  await rejection(app.getDecorator<TestWorkers>('workers').run('die', 'exit'))
  const incidents = await page.next<Incident[]>('incidents', (incidents) => incidents.length > 1)
  t.match(incidents.find(({ subject }) => subject === 'job die'), { kind: 'failed', reason: /lost its thread/ })
  t.match(incidents.find(({ subject }) => subject === 'thread 0 of workers'), { kind: 'failed', reason: /another thread takes its place/ })
})

t.test('HTML, quotes and line breaks in names and errors stay data, in one message each', async (t) => {
  const { app, port } = await startDashboard(t, { workers: { jobs: odd as never, maxThreads: 1, maxQueue: 0, execArgv }, tasks: { maxQueue: 1, concurrency: 1 }, metrics: { path: '/metrics' } })
  const workers = app.getDecorator<Workers<Jobs>>('workers')
  const page = await listenTo(t, port)
  const started = deferred<unknown>()
  const controller = new AbortController()
  const running = rejection(workers.run(oddName, { ms: 60_000 }, { signal: controller.signal, onProgress: started.resolve }))
  await started.promise
  t.match(await rejection(workers.run(oddName, { ms: 1 })), { code: 'FC_ERR_WORKERS_OVERLOADED' })
  await page.next<Incident[]>('incidents', (incidents) => incidents.some(({ subject }) => subject === `job ${oddName}`))
  await page.next<ShownJob[]>('jobs', (jobs) => jobs.some(({ name }) => name === oddName))
  controller.abort()
  await running
  await rejection(app.tasks.submit(`${oddName}:1`, async () => { throw new Error(oddName) }).done)
  const failed = await page.next<Incident[]>('incidents', (incidents) => incidents.some(({ subject }) => subject === `task ${oddName.split(':', 1)[0]}`))
  t.equal(failed.find(({ kind }) => kind === 'failed')?.reason, oddName)
  t.notOk(page.messages.some(({ event }) => event === 'goodbye'))
  const { body } = await send(port, '/metrics')
  t.match(body, 'job="<img src=x onerror=alert(1)>\\n\\nevent: goodbye\\ndata: \\"\\\\\u2028",outcome="aborted"} 1')
  t.notMatch(body, /^event:/m)
})

t.test('a page sees each phase of a shutdown, until its last event says that the service is gone', async (t) => {
  const app = Fastify()
  await app.register(concurrency, { dashboard: {}, lifecycle: { timeout: 5_000 } })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const port = (app.server.address() as { port: number }).port
  const page = await listenTo(t, port)
  const hold = deferred()
  app.tasks.submit('mail:1', async () => hold.promise)
  const closed = app.lifecycle.shutdown('test')
  await page.next<Status>('status', ({ state, problems }) => state === 'draining' && problems[0]?.why === 'background tasks are being finished')
  t.notOk(page.ended)
  const late = await listenTo(t, port)
  await late.next<Hello>('hello')
  hold.resolve()
  t.match(await closed, { unfinished: [] })
  for (const each of [page, late]) {
    await each.next('goodbye')
    t.equal(each.messages.at(-1)?.event, 'goodbye', 'it is the last one')
    await until(() => each.ended, 'the stream ends')
  }
})

t.test('pages get their last event when a shutdown has to give up a request, too', async (t) => {
  for (const end of ['shutdown', 'close'] as const) {
    const app = Fastify()
    await app.register(concurrency, { dashboard: {}, lifecycle: { timeout: 200, grace: 50 } })
    const asked = deferred()
    app.get('/endless', async () => {
      asked.resolve()
      return new Promise(() => {})
    })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const port = (app.server.address() as { port: number }).port
    const page = await listenTo(t, port)
    const cut = rejection(send(port, '/endless'))
    await asked.promise
    if (end === 'close') await app.close()
    else t.match(await app.lifecycle.shutdown('test'), { unfinished: [{ name: 'GET /endless' }] })
    await cut
    await page.next('goodbye')
  }
})

t.test('without lifecycle, and in a bare close(), pages get their last event too', async (t) => {
  for (const lifecycle of [false, {}] as const) {
    const app = Fastify()
    await app.register(concurrency, { dashboard: {}, lifecycle })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const page = await listenTo(t, (app.server.address() as { port: number }).port)
    await app.close()
    await page.next('goodbye')
    await until(() => page.ended, 'the stream ends')
  }
})

/** Opens the event stream by a connection that is kept alive, and closes the application meanwhile. */
async function closesWithOpenPage (t: Test, app: FastifyInstance, socket: Socket): Promise<void> {
  t.teardown(() => socket.destroy())
  let text = ''
  socket.setEncoding('utf8').on('data', (chunk: string) => { text += chunk })
  socket.write('GET /dashboard/events HTTP/1.1\r\nHost: localhost\r\nconnection: keep-alive\r\n\r\n')
  await until(() => text.includes('event: hello'), 'the stream has begun')
  const startedAt = performance.now()
  await app.close()
  t.ok(performance.now() - startedAt < 4_000, `${performance.now() - startedAt} ms`)
  await until(() => text.includes('event: goodbye'), 'the last event')
}

t.test('a page whose connection is kept alive, as a browser keeps it, doesn\'t hold up the end', async (t) => {
  for (const lifecycle of [false, {}] as const) {
    const app = Fastify()
    await app.register(concurrency, { dashboard: {}, lifecycle })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const socket = connect((app.server.address() as { port: number }).port, '127.0.0.1')
    await closesWithOpenPage(t, app, socket)
  }
})

t.test('so it is with a server of HTTP/2 that speaks HTTP/1 too, which closes no idle connections by itself', async (t) => {
  const made = await makeCertificate(t)
  if (made === undefined) return t.plan(0, 'openssl was not found')
  const { key, certificate: cert } = made
  for (const lifecycle of [false, {}] as const) {
    const app = Fastify({ http2: true, https: { allowHTTP1: true, key, cert } }) as unknown as FastifyInstance
    await app.register(concurrency, { dashboard: {}, lifecycle })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const socket = connectTls({ port: (app.server.address() as { port: number }).port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] })
    await closesWithOpenPage(t, app, socket)
  }
})

t.test('a client that reads nothing is cut off, and what waits for it is bounded', async (t) => {
  const { Streams } = await import('../../plugins/dashboard/streams.ts')
  const streams = new Streams()
  const app = Fastify()
  t.teardown(() => app.close())
  app.get('/', (_request, reply) => { streams.open(reply, 'data: hello\n\n') })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const port = (app.server.address() as { port: number }).port
  const raws: ServerResponse[] = []
  app.server.on('request', (_request, response) => { raws.push(response) })
  const open = (): Socket => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    t.teardown(() => socket.destroy())
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
    return socket
  }
  open().pause()
  await until(() => streams.size === 1, 'it is open')
  const reader = open().resume()
  await until(() => streams.size === 2, 'both are open')
  const [stalled] = raws
  const text = `data: ${'x'.repeat(100_000)}\n\n`
  let most = 0
  let sent = 0
  while (streams.size === 2 && sent++ < 1_000) {
    streams.broadcast(text)
    most = Math.max(most, stalled?.writableLength ?? 0)
    await new Promise((resolve) => setImmediate(resolve))
  }
  t.equal(streams.size, 1, 'the one that reads stays')
  t.notOk(reader.destroyed)
  t.ok(stalled?.destroyed)
  t.ok(most < 3 * text.length, `${most} bytes waited at most`)
  // One that has just gone is written to before its end is heard of, and so is one that other code has ended: the error must not end the process.
  raws.at(-1)?.destroy()
  streams.broadcast(text)
  await until(() => streams.size === 0, 'it is forgotten')
  open().resume()
  await until(() => streams.size === 1, 'another one is open')
  raws.at(-1)?.end()
  streams.broadcast(text)
  await until(() => streams.size === 0 || raws.at(-1)?.writableFinished === true, 'it has ended')
})

/** A reply whose client reads when the test says so. */
class SlowReply extends EventEmitter {
  readonly raw = this
  readonly req = {}
  reads = true
  written: string[] = []
  destroyed = false
  hijack (): void {}
  writeHead (): void {}
  write (text: string | Buffer): boolean {
    this.written.push(String(text))
    return this.reads
  }

  destroy (): void { this.destroyed = true }
  read (): void { this.emit('drain') }
}

t.test('a page that lags again and again, and reads in time each time, stays, and gets no more while it lags', async (t) => {
  const { Streams } = await import('../../plugins/dashboard/streams.ts')
  const streams = new Streams()
  const page = new SlowReply()
  streams.open(page as never, 'hello')
  page.reads = false
  for (let round = 0; round < 3; round++) {
    streams.broadcast('sent')
    for (let n = 0; n < 10; n++) streams.broadcast('missed')
    t.notOk(page.destroyed)
    page.read()
  }
  t.strictSame(page.written, ['hello', 'sent', 'sent', 'sent'])
  streams.broadcast('sent')
  for (let n = 0; n < 11; n++) streams.broadcast('missed')
  t.ok(page.destroyed, 'ten are the most')
  t.equal(streams.size, 0, 'its place is free')
})

t.test('proxies are told not to keep events back', async (t) => {
  const { port } = await startDashboard(t, { workers: false })
  const headers = await new Promise<IncomingHttpHeaders>((resolve, reject) => {
    const request = httpRequest({ port, path: '/dashboard/events', host: '127.0.0.1', agent: false }, (response) => resolve(response.headers))
    request.on('error', reject).end()
    t.teardown(() => request.destroy())
  })
  t.match(headers, { 'content-type': /^text\/event-stream/, 'cache-control': /no-store, no-transform/, 'x-accel-buffering': 'no', 'cross-origin-resource-policy': 'same-origin' })
})

t.test('250 pages are open at most, and those that leave make room for others', async (t) => {
  const { port } = await startDashboard(t, { workers: false })
  /** Opens a stream; the answer has begun. */
  const open = async (): Promise<{ status: number, close: () => void }> => await new Promise((resolve) => {
    const request = httpRequest({ port, path: '/dashboard/events', host: '127.0.0.1', agent: false }, (response) => {
      response.resume().on('error', () => {})
      resolve({ status: response.statusCode ?? 0, close: () => request.destroy() })
    })
    request.on('error', () => {}).end()
    t.teardown(() => request.destroy())
  })
  const pages = await Promise.all(Array.from({ length: 300 }, open))
  t.equal(pages.filter(({ status }) => status === 200).length, 250)
  t.equal(pages.filter(({ status }) => status === 503).length, 50)
  const refused = await send(port, '/dashboard/events')
  t.match([refused.status, refused.headers['retry-after'], refused.body], [503, '5', /As many pages are open as may be/])
  for (const { close } of pages) close()
  // The service hears of it a moment later.
  for (let another = await open(); another.status !== 200; another = await open()) t.equal(another.status, 503)
})

t.test('streams that a client pipelines on one connection take one place, and give it back when it leaves', async (t) => {
  const { port } = await startDashboard(t, { workers: false })
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.on('error', () => {}).resume().write('GET /dashboard/events HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(400))
  const open = async (): Promise<number> => await new Promise((resolve, reject) => {
    const request = httpRequest({ port, path: '/dashboard/events', host: '127.0.0.1', agent: false }, ({ statusCode = 0 }) => {
      resolve(statusCode)
      request.destroy()
    })
    request.on('error', reject).end()
  })
  for (let round = 0; round < 3; round++) t.equal(await open(), 200, 'there is a place for others')
  const pages = await Promise.all(Array.from({ length: 100 }, open))
  t.equal(pages.filter((status) => status === 200).length, 100)
  socket.destroy()
})

t.test('an error that can\'t be read, and ids of requests that are no strings, end neither the feed nor the process', async (t) => {
  let id: unknown = 1n
  const { app, port } = await startDashboard(t, {}, (app) => {
    app.get('/', async () => app.getDecorator<TestWorkers>('workers').run('spin', { ms: 60_000 }))
  }, { genReqId: () => id as never })
  class Unreadable extends Error {
    override get message (): string { throw new Error('unreadable') }
  }
  const page = await listenTo(t, port)
  await rejection(app.tasks.submit('mail:1', async () => { throw new Unreadable() }).done).catch(() => {})
  await page.next<Incident[]>('incidents', (incidents) => incidents.some(({ subject, reason }) => subject === 'task mail' && reason === 'its error can\'t be read'))
  for (const [each, shown] of [[7n, '7'], [Object.create(null), undefined]] as const) {
    id = each
    const asked = new AbortController()
    const left = rejection(send(port, '/', { signal: asked.signal }))
    const [job] = await page.next<ShownJob[]>('jobs', ([first]) => first !== undefined && first.requestId === shown)
    t.ok(job)
    asked.abort()
    await left
  }
})

t.test('what is stored of each named task is sent each second', async (t) => {
  const queue = { name: 'mail', waiting: 3, delayed: 1, running: 2, failed: 4, oldestMs: 5_000 }
  const engine: EngineFactory = async (host) => Object.assign(await memoryEngine(host), { queues: async () => [queue] })
  const { port } = await startDashboard(t, { workers: false, tasks: { tasks: defineTasks({ mail: { handler () {} } }), engine } })
  const page = await listenTo(t, port)
  t.strictSame(await page.next('stored', ({ queues }: { queues: unknown[] }) => queues.length > 0), { queues: [queue], away: false }, 'an engine of the application has no processes')
})

t.test('a request that is pipelined behind a page\'s stream is answered in a shutdown, and doesn\'t hold it up', async (t) => {
  for (const answers of ['before', 'during'] as const) {
    const app = Fastify()
    await app.register(concurrency, { dashboard: {}, lifecycle: { timeout: 8_000 } })
    const asked = deferred()
    const go = deferred()
    app.get('/next', async () => {
      asked.resolve()
      await go.promise
      return 'answered'
    })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const socket = connect((app.server.address() as { port: number }).port, '127.0.0.1')
    t.teardown(() => socket.destroy())
    let text = ''
    socket.setEncoding('utf8').on('data', (chunk: string) => { text += chunk })
    const closed = once(socket, 'close')
    socket.write('GET /dashboard/events HTTP/1.1\r\nHost: localhost\r\n\r\nGET /next HTTP/1.1\r\nhost: localhost\r\n\r\n')
    await asked.promise
    await until(() => text.includes('event: hello'), 'the stream has begun')
    if (answers === 'before') go.resolve()
    const stopping = app.lifecycle.shutdown('test')
    await until(() => app.lifecycle.phase !== 'serving', 'the drain has begun')
    go.resolve()
    const { unfinished, durationMs } = await stopping
    t.strictSame(unfinished, [])
    t.ok(durationMs < 4_000, `${durationMs} ms`)
    await closed
    t.match(text, /HTTP\/1\.1 200 OK[^]*HTTP\/1\.1 200 OK[^]*connection: close[^]*answered$/, answers)
  }
})

t.test('refusals on ten thousand routes are one card, with some of its routes', async (t) => {
  const { port } = await startDashboard(t, { workers: false, limiter: { policies: { few: { rate: 0.001, burst: 1 } } } }, (app) => {
    for (let n = 0; n < 10_000; n++) app.route({ method: 'GET', url: `/route-${n}`, exposeHeadRoute: false, handler: async () => 'ok' })
  })
  const page = await listenTo(t, port)
  for (let n = 0; n < 400; n += 20) await Promise.all(Array.from({ length: 20 }, async (_, i) => send(port, `/${i % 2 === 0 ? 'route' : 'nowhere'}-${n + i}`)))
  const [incident] = await page.next<Incident[]>('incidents', ([incident]) => incident?.count === 399)
  t.match(incident?.routes, [{ route: 'GET (no route)', count: Number }, { count: 1 }, { count: 1 }, { count: 1 }])
  const late = await listenTo(t, port)
  t.equal((await late.next<Hello>('hello')).incidents.length, 1)
})

t.test('two applications in a process have dashboards of their own, also when the plugin is registered by hand', async (t) => {
  const one = await startDashboard(t, { workers: false, limiter: { policies: { few: { rate: 0.001, burst: 1 } } } }, (app) => { app.get('/', async () => 'ok') })
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(dashboard, { path: '/ops/live', prefix: '/admin' })
  await app.register(metrics)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const port = (app.server.address() as { port: number }).port
  t.equal((await send(port, '/admin/ops/live/')).status, 200)
  const [page, other] = [await listenTo(t, one.port), await listenTo(t, port, '/admin/ops/live/events')]
  await send(one.port, '/')
  await send(one.port, '/')
  await page.next('incidents')
  await other.next('sample')
  t.strictSame(other.messages.filter(({ event }) => event === 'incidents'), [])
})

t.test('ignoreTrailingSlash, HTTP/2 and HEAD do no harm', async (t) => {
  const app = Fastify({ routerOptions: { ignoreTrailingSlash: true } })
  t.teardown(() => app.close())
  await app.register(concurrency, { dashboard: {} })
  t.equal((await app.inject('/dashboard')).statusCode, 302)
  t.equal((await app.inject('/dashboard/')).statusCode, 200)
  t.equal((await app.inject({ method: 'HEAD', url: '/dashboard/' })).statusCode, 200)
  t.equal((await app.inject({ method: 'HEAD', url: '/dashboard/events' })).statusCode, 404)
})

t.test('over HTTP/2', async (t) => {
  const { connect } = await import('node:http2')
  const app = Fastify({ http2: true })
  t.teardown(() => app.close())
  await app.register(concurrency as never, { dashboard: { authorize: () => true } })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = connect(`http://127.0.0.1:${(app.server.address() as { port: number }).port}`)
  t.teardown(() => session.destroy())
  let text = ''
  session.request({ ':path': '/dashboard/events' }).setEncoding('utf8').on('data', (chunk: string) => { text += chunk }).on('error', () => {})
  await until(() => text.includes('event: sample'), 'a sample')
  await app.close()
  await until(() => text.includes('event: goodbye'), 'the last event')
})

t.test('the event loop counts all that the page asks for as one route', async (t) => {
  const { app, port } = await startDashboard(t, { workers: false, loop: {} }, (app) => { app.get('/x', async () => 'x') })
  for (const path of ['/dashboard/', '/dashboard/main.js', '/dashboard/style.css', '/x']) t.equal((await send(port, path)).status, 200)
  t.strictSame(app.loop.stats().routes.map(({ route, count }) => [route, count]).sort(), [['GET /x', 1], ['dashboard', 3]])
})
