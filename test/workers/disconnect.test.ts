import t, { type Test } from 'tap'
import type { FastifyInstance, FastifyRequest, FastifyServerOptions } from 'fastify'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { request as httpRequest, type ClientRequest } from 'node:http'
import { connect as http2Connect } from 'node:http2'
import { connect, type AddressInfo } from 'node:net'
import type { RunOptions } from '../../plugins/workers/index.ts'
import { deferred, execArgv, rejection, startApp, until, type TestWorkers } from '../helper.ts'

/** A server with one thread whose route spins for a minute: only a cancel ends it in time. */
async function listening (t: Test, run: RunOptions = {}, server: FastifyServerOptions = {}, options = {}): Promise<{ app: FastifyInstance, workers: TestWorkers, port: number }> {
  const { app, workers } = await startApp(t, options, { forceCloseConnections: true, ...server }, (app, workers) => {
    app.all('/', async () => workers.run('spin', { ms: 60_000 }, run))
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, workers, port: (app.server.address() as AddressInfo).port }
}

function send (port: number, method: string, body?: string): ClientRequest {
  const client = httpRequest({ port, host: '127.0.0.1', method, agent: false, headers: body === undefined ? {} : { 'content-type': 'application/json' } })
  client.on('error', () => {})
  client.end(body)
  return client
}

for (const [method, body] of [['GET', undefined], ['POST', JSON.stringify({ big: 'x'.repeat(200_000) })]] as const) {
  t.test(`${method}: a client that leaves stops its job, in the run and in the queue`, async (t) => {
    const { workers, port } = await listening(t)
    const running = send(port, method, body)
    await until(() => workers.stats().running === 1, 'the first runs')
    const queued = send(port, method, body)
    await until(() => workers.stats().waiting === 1, 'the second waits')
    queued.destroy()
    await until(() => workers.stats().waiting === 0, 'the second has left the queue')
    t.equal(workers.stats().running, 1, 'the first goes on')
    running.destroy()
    await workers.idle()
    t.equal(workers.stats().jobs.spin.aborted, 2)
  })
}

t.test('HTTP/2: a stream that is reset stops its job, and its neighbour on the session goes on', async (t) => {
  const { workers, port } = await listening(t, {}, { http2: true } as FastifyServerOptions, { maxThreads: 2 })
  const session = http2Connect(`http://127.0.0.1:${port}`)
  t.teardown(() => session.destroy())
  const [leaving, staying] = [1, 2].map(() => session.request({ ':path': '/' }).on('error', () => {}))
  await until(() => workers.stats().running === 2, 'both run')
  leaving?.close(8) // CANCEL
  await until(() => workers.stats().running === 1, 'one was cancelled')
  staying?.close(8)
  await workers.idle()
  t.equal(workers.stats().jobs.spin.aborted, 2)
})

t.test('inject: its signal\'s abort stops the job', async (t) => {
  const { app, workers } = await startApp(t, {}, {}, (app, workers) => app.get('/', async () => workers.run('spin', { ms: 60_000 })))
  const controller = new AbortController()
  const response = app.inject({ url: '/', signal: controller.signal }).catch(() => 'left')
  await until(() => workers.stats().running === 1, 'it runs')
  controller.abort()
  await workers.idle()
  t.equal(await response, 'left')
})

t.test('a detached job goes on when its client leaves', async (t) => {
  const { app, workers } = await startApp(t, {}, { forceCloseConnections: true }, (app, workers) => {
    app.get('/', async () => workers.run('spin', { ms: 100 }, { detached: true }))
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const client = send((app.server.address() as AddressInfo).port, 'GET')
  await until(() => workers.stats().running === 1, 'it runs')
  client.destroy()
  await workers.idle()
  t.match(workers.stats().jobs.spin, { completed: 1, aborted: 0 })
})

t.test('without the ambient request a job goes on, unless it is passed', async (t) => {
  const { app, workers } = await startApp(t, { ambient: false }, { forceCloseConnections: true }, (app, workers) => {
    app.get('/unknown', async () => workers.run('spin', { ms: 100 }))
    app.get('/passed', async (request) => workers.run('spin', { ms: 60_000 }, { request }))
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  for (const path of ['/unknown', '/passed']) {
    const client = httpRequest({ port, host: '127.0.0.1', path, agent: false }).on('error', () => {}).end()
    await until(() => workers.stats().running === 1, `${path} runs`)
    client.destroy()
    await workers.idle()
  }
  t.match(workers.stats().jobs.spin, { completed: 1, aborted: 1 })
})

t.test('a signal of one\'s own counts beside the client\'s', async (t) => {
  const own = new AbortController()
  const { workers, port } = await listening(t, { signal: own.signal })
  send(port, 'GET')
  await until(() => workers.stats().running === 1, 'it runs')
  own.abort()
  await workers.idle()
  const client = send(port, 'GET') // its signal has aborted already: refused at once
  await until(() => workers.stats().jobs.spin.aborted === 2, 'the second was cancelled')
  client.destroy()
})

t.test('jobs of a request whose client stays are not cancelled by another\'s leaving', async (t) => {
  const { app, workers } = await startApp(t, { maxThreads: 2 }, { forceCloseConnections: true }, (app, workers) => {
    app.get('/long', async () => workers.run('spin', { ms: 60_000 }))
    app.get('/short', async () => workers.run('spin', { ms: 150 }))
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const leaving = httpRequest({ port, host: '127.0.0.1', path: '/long', agent: false }).on('error', () => {}).end()
  await until(() => workers.stats().running === 1, 'the long one runs')
  const staying = fetch(`http://127.0.0.1:${port}/short`)
  await until(() => workers.stats().running === 2, 'both run')
  leaving.destroy()
  t.equal(await (await staying).text(), 'done')
})

t.test('pipelined requests whose client leaves are all cancelled, the one in the queue behind too', async (t) => {
  const { workers, port } = await listening(t, {}, {}, { maxThreads: 2 })
  const socket = connect(port, '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n')
  await until(() => workers.stats().running === 2, 'both run')
  socket.destroy()
  await workers.idle()
  t.equal(workers.stats().jobs.spin.aborted, 2)
})

t.test('a run whose client has left, or whose signal has aborted, evicts no job from a full queue', async (t) => {
  const entered = deferred<FastifyRequest>()
  const gone = deferred()
  const late = deferred<Promise<unknown>>()
  const { app, workers } = await startApp(t, { maxQueue: 2 }, { forceCloseConnections: true }, (app, workers) => {
    app.post('/', async (request) => {
      entered.resolve(request)
      await gone.promise
      late.resolve(rejection(workers.run('echo', 1, { key: 'b' })))
    })
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const client = send((app.server.address() as AddressInfo).port, 'POST', '{}')
  const { socket } = await entered.promise
  const running = workers.run('spin', { ms: 60_000 }, { signal: AbortSignal.timeout(200), key: 'a' }).catch(() => {})
  await until(() => workers.stats().running === 1, 'it runs')
  const waiting = [1, 2].map((n) => workers.run('echo', n, { key: 'a' }))
  client.destroy()
  await until(() => socket.destroyed, 'the server has seen it')
  gone.resolve()
  t.match(await late.promise, { code: 'FC_ERR_JOB_ABORTED', cause: { message: 'The client has disconnected' } })
  t.match(await rejection(workers.run('echo', 1, { key: 'b', signal: AbortSignal.abort() })), { code: 'FC_ERR_JOB_ABORTED' })
  t.same(await Promise.all(waiting), [1, 2])
  await running
})

t.test('a client that leaves a handler with two jobs ends both, and not the process', async (t) => {
  const child = fork(new URL('../fixtures/two-jobs.ts', import.meta.url), [], { execArgv, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const [port] = await once(child, 'message') as [number]
  const socket = connect(port, '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
  t.same((await once(child, 'message'))[0], 'running')
  socket.destroy()
  t.same((await once(child, 'exit')), [0, null])
})
