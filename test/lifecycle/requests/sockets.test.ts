import t, { type Test } from 'tap'
import { once } from 'node:events'
import { Agent, request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http'
import { connect as connectHttp2, createServer as createHttp2Server, type ClientHttp2Session } from 'node:http2'
import { connect, type AddressInfo, type Socket } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import cancellation from '../../../plugins/cancellation/index.ts'
import { connectionsOf } from '../../../plugins/lifecycle/requests/connections.ts'
import lifecycle, { type LifecycleOptions } from '../../../plugins/lifecycle/index.ts'
import { drainablesOf } from '../../../plugins/shared/drainables.ts'
import { assertIdle } from '../../../plugins/testing.ts'
import { deferred, fakeDrainable, inFlight, phase } from '../fixtures.ts'
import { until } from '../../helper.ts'

async function build (t: Test, options: LifecycleOptions = {}): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(async () => {
    await app.close()
    await assertIdle(app)
  })
  await app.register(lifecycle, options)
  return app
}

function port (app: FastifyInstance): number {
  return (app.server.address() as AddressInfo).port
}

function get (app: FastifyInstance, path: string, agent?: Agent): ClientRequest {
  return httpRequest({ port: port(app), host: '127.0.0.1', path, ...(agent === undefined ? {} : { agent }) }).end()
}

async function answer (request: ClientRequest): Promise<IncomingMessage & { body: string }> {
  const [response] = await once(request, 'response') as [IncomingMessage]
  let body = ''
  response.setEncoding('utf8')
  for await (const chunk of response) body += chunk as string
  return Object.assign(response, { body })
}

t.test('keep-alive clients, busy and idle, are told to close and do not hold close() up', async (t) => {
  const app = await build(t, { timeout: 20_000 })
  const go = deferred()
  app.get('/', async () => 'hello')
  app.get('/slow', async () => { await go.promise; return 'done' })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const idleAgent = new Agent({ keepAlive: true })
  t.teardown(() => { agent.destroy(); idleAgent.destroy() })

  await answer(get(app, '/', idleAgent))
  const busy = answer(get(app, '/slow', agent))
  await inFlight(app, 1)
  const shutdown = app.lifecycle.shutdown()
  await phase(app, 'requests')
  const refused = await answer(get(app, '/', idleAgent))
  t.equal(refused.statusCode, 503)
  t.equal(refused.headers.connection, 'close')
  go.resolve()
  const { headers, body } = await busy
  t.equal(body, 'done')
  t.equal(headers.connection, 'close')
  const { durationMs } = await shutdown
  t.ok(durationMs < 5_000, `took ${durationMs} ms`)
})

t.test('a client that left: its handler is waited for, and only as long as it runs', async (t) => {
  const app = await build(t, { timeout: 20_000 })
  const go = deferred()
  const gone = deferred()
  let written = false
  app.post('/', async (_request, reply) => {
    reply.raw.once('close', gone.resolve)
    await go.promise
    written = true
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const client = httpRequest({ port: port(app), method: 'POST', path: '/', headers: { 'content-type': 'application/json' } })
  client.on('error', () => {})
  client.end('{}')
  await inFlight(app, 1)
  client.destroy()
  await gone.promise
  const shutdown = app.lifecycle.shutdown()
  await phase(app, 'requests')
  t.equal(app.lifecycle.phase, 'requests')
  go.resolve()
  const report = await shutdown
  t.equal(written, true)
  t.match(report, { completed: 1, unfinished: [] })
})

t.test('a client that left before its handler began: hook and handler are waited for', async (t) => {
  const app = await build(t, { timeout: 20_000 })
  const [hookGoes, handlerBegins, handlerGoes, gone] = [deferred(), deferred(), deferred(), deferred()]
  let written = false
  const preHandler = async (_request: unknown, reply: { raw: NodeJS.EventEmitter }): Promise<void> => {
    reply.raw.once('close', gone.resolve)
    await hookGoes.promise
  }
  app.post('/', { preHandler }, async () => {
    handlerBegins.resolve()
    await handlerGoes.promise
    written = true
  })
  app.get('/refused', {
    preHandler: async (_request, reply) => {
      reply.raw.once('close', gone.resolve)
      await hookGoes.promise
      return reply.code(401).send('who are you?')
    }
  }, async () => 'never')
  await app.listen({ port: 0, host: '127.0.0.1' })
  for (const client of [httpRequest({ port: port(app), host: '127.0.0.1', method: 'POST' }).end(), get(app, '/refused')]) {
    client.on('error', () => {})
    await inFlight(app, client.method === 'POST' ? 1 : 2)
    client.destroy()
    await gone.promise
  }
  const shutdown = app.lifecycle.shutdown()
  await phase(app, 'requests')
  hookGoes.resolve()
  await handlerBegins.promise
  await inFlight(app, 1)
  t.equal(app.lifecycle.phase, 'requests')
  handlerGoes.resolve()
  t.match(await shutdown, { completed: 2, unfinished: [] })
  t.equal(written, true)
})

t.test('a client that left before this plugin\'s hook is not waited for', async (t) => {
  const app = Fastify()
  const gone = deferred()
  app.addHook('onRequest', async (_request, reply) => {
    reply.raw.once('close', gone.resolve)
    await gone.promise
  })
  await app.register(lifecycle, { timeout: 20_000 })
  const handled = deferred()
  app.get('/', async () => { handled.resolve() })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const arrived = once(app.server, 'request')
  const client = get(app, '/')
  client.on('error', () => {})
  await arrived
  client.destroy()
  await handled.promise
  t.match(await app.lifecycle.shutdown(), { unfinished: [] })
})

t.test('pipelined requests: all that had begun are answered; when their client leaves none stays in flight', async (t) => {
  const app = await build(t, { timeout: 20_000 })
  const [first, second] = [deferred(), deferred()]
  app.get('/1', async () => { await first.promise; return 'one' })
  app.get('/2', async () => { await second.promise; return 'two' })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const pipeline = (...paths: string[]): string => paths.map((path) => `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`).join('')

  const leaving = connect(port(app), '127.0.0.1')
  leaving.write(pipeline('/1', ...Array<string>(20).fill('/2')))
  await inFlight(app, 21)
  leaving.destroy()
  second.resolve()
  await inFlight(app, 1)

  const staying = connect(port(app), '127.0.0.1')
  staying.write(pipeline('/1', '/2'))
  await inFlight(app, 3)
  const shutdown = app.lifecycle.shutdown()
  await phase(app, 'requests')
  staying.write(pipeline('/2'))
  first.resolve()
  let answers = ''
  for await (const chunk of staying.setEncoding('utf8')) answers += chunk as string
  t.match(answers, /200 OK(?:(?!HTTP)[^])*one[^]*200 OK(?:(?!HTTP)[^])*two/)
  t.match(await shutdown, { completed: 3, unfinished: [] })
})

t.test('a client that leaves before its body has come, or whose callback handler never answers, leaves nothing in flight', async (t) => {
  const app = await build(t)
  const requests = [...drainablesOf(app)].find(({ name }) => name === 'requests')!
  app.post('/', async () => 'ok')
  app.get('/mute', () => {})
  await app.listen({ port: 0, host: '127.0.0.1' })

  const half = connect(port(app), '127.0.0.1')
  half.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"half')
  await inFlight(app, 1)
  half.destroy()
  await inFlight(app, 0)

  const mute = get(app, '/mute')
  mute.on('error', () => {})
  await inFlight(app, 1)
  mute.destroy()
  await inFlight(app, 0)
  t.equal(requests.pending, 0)
})

t.test('404s, errors, hijacked replies and streams are each counted once', async (t) => {
  const app = await build(t)
  const requests = [...drainablesOf(app)].find(({ name }) => name === 'requests')!
  const end = deferred()
  app.get('/throws', async () => { throw new Error('oops') })
  app.get('/hijacked', async (_request, reply) => {
    reply.hijack()
    reply.raw.write('a')
    end.promise.then(() => reply.raw.end('b'), () => {})
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.equal((await answer(get(app, '/nowhere'))).statusCode, 404)
  t.equal((await answer(get(app, '/throws'))).statusCode, 500)
  await inFlight(app, 0)
  t.equal(requests.completed, 2)

  const hijacked = answer(get(app, '/hijacked'))
  await inFlight(app, 1)
  const shutdown = app.lifecycle.shutdown()
  await phase(app, 'requests')
  t.equal(requests.pending, 1, 'its handler has ended long ago, its response has not')
  end.resolve()
  t.equal((await hijacked).body, 'ab')
  t.match(await shutdown, { completed: 1, unfinished: [] })
})

t.test('server-sent events end with a last message', async (t) => {
  const app = await build(t, { timeout: 20_000 })
  app.get('/events', async (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
    reply.raw.write('data: hello\n\n')
    const takeBack = app.lifecycle.onShutdown(() => { reply.raw.end('event: bye\n\n') })
    reply.raw.once('close', takeBack)
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const events = answer(get(app, '/events'))
  await inFlight(app, 1)
  const { unfinished, durationMs } = await app.lifecycle.shutdown()
  t.equal((await events).body, 'data: hello\n\nevent: bye\n\n')
  t.same(unfinished, [])
  t.ok(durationMs < 5_000)
})

t.test('a stream that answers to the end does not hold the shutdown up: it is cut in time', async (t) => {
  const app = await build(t, { timeout: 100, grace: 200 })
  app.get('/dashboard', { config: { lifecycle: 'always' } }, async (_request, reply) => {
    reply.hijack()
    reply.raw.write('data: hello\n\n')
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const stream = get(app, '/dashboard')
  const [response] = await once(stream, 'response') as [IncomingMessage]
  response.resume()
  const ended = once(response, 'error')
  const report = await app.lifecycle.shutdown()
  t.same(report.unfinished, [], 'it is no accepted work')
  t.match((await ended)[0], { code: 'ECONNRESET' })
  t.equal(app.lifecycle.phase, 'closed')
})

t.test('half a request does not hold close() up either', async (t) => {
  const app = await build(t, { timeout: 100, grace: 200 })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const half = connect(port(app), '127.0.0.1')
  half.on('error', () => {})
  half.write('GET / HTTP/1.1\r\nhost: x\r\n')
  await once(half, 'connect')
  await app.lifecycle.shutdown()
  t.equal(app.server.listening, false)
  // once() would reject with the client's ECONNRESET.
  await until(() => half.closed, 'the connection was cut')
})

t.test('an upgraded socket that nobody ends does not hold close() up either', async (t) => {
  const app = await build(t, { timeout: 100, grace: 200 })
  app.server.on('upgrade', (_request, socket) => { socket.write('HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n') })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const upgrading = httpRequest({ port: port(app), host: '127.0.0.1', headers: { connection: 'upgrade', upgrade: 'x' } }).end()
  const [, socket] = await once(upgrading, 'upgrade') as [IncomingMessage, Socket]
  socket.on('error', () => {})
  const closed = once(app.server, 'close')
  await app.lifecycle.shutdown()
  await closed
  t.equal(app.lifecycle.phase, 'closed')
})

t.test('shutdown() from inside a request: it gets the report, and answers, before the app closes', async (t) => {
  const app = await build(t, { timeout: 20_000 })
  await app.register(cancellation)
  const go = deferred()
  app.get('/slow', async () => { await go.promise; return 'done' })
  app.post('/stop', async () => app.lifecycle.shutdown('asked'))
  await app.listen({ port: 0, host: '127.0.0.1' })
  const slow = answer(get(app, '/slow'))
  await inFlight(app, 1)
  const stopped = answer(httpRequest({ port: port(app), host: '127.0.0.1', method: 'POST', path: '/stop' }).end())
  await phase(app, 'requests')
  go.resolve()
  t.equal((await slow).body, 'done', 'the others are waited for')
  t.match(JSON.parse((await stopped).body), { reason: 'asked', completed: 1, unfinished: [] })
  t.match(await app.lifecycle.shutdown(), { reason: 'asked' })
  t.equal(app.lifecycle.phase, 'closed')
})

t.test('shutdown() from inside a request without the ambient request: until the deadline, and then by name', async (t) => {
  const app = await build(t, { timeout: 60, grace: 10 })
  app.post('/stop', async () => app.lifecycle.shutdown('asked'))
  await app.listen({ port: 0, host: '127.0.0.1' })
  const client = httpRequest({ port: port(app), host: '127.0.0.1', method: 'POST', path: '/stop' }).end()
  client.on('error', () => {})
  await phase(app, 'closed')
  const { unfinished } = await app.lifecycle.shutdown()
  t.match(unfinished, [{ kind: 'request', name: 'POST /stop' }])
})

t.test('HTTP/2: streams finish, idle sessions are closed', async (t) => {
  const app = Fastify({ http2: true })
  await app.register(lifecycle, { timeout: 20_000 })
  const go = deferred()
  app.get('/slow', async () => { await go.promise; return 'done' })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
  const [busy, idle] = [connectHttp2(url), connectHttp2(url)]
  t.teardown(() => { busy.destroy(); idle.destroy() })
  await once(idle, 'connect')

  const slow = stream(busy, '/slow')
  await inFlight(app as unknown as FastifyInstance, 1)
  const closed = [once(busy, 'close'), once(idle, 'close')]
  const before = performance.now()
  const shutdown = app.lifecycle.shutdown()
  await phase(app as unknown as FastifyInstance, 'requests')
  t.equal((await stream(idle, '/slow')).status, 503)
  go.resolve()
  t.same(await slow, { status: 200, body: 'done' })
  t.match(await shutdown, { completed: 1, unfinished: [] })
  await Promise.all(closed)
  t.ok(performance.now() - before < 10_000, 'the idle session did not hold close() up')
})

t.test('HTTP/2: a session that comes while the server closes is closed too', async (t) => {
  const server = createHttp2Server()
  const connections = connectionsOf(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  connections.close()
  const late = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  t.teardown(() => late.destroy())
  await once(late, 'close')
  t.ok(late.closed)
  server.close()
  await connections.ended()
})

t.test('work that drains while the server listens: liveness over a real socket in every phase', async (t) => {
  const app = await build(t, { readyPath: '/ready', livePath: '/live' })
  const workers = fakeDrainable('workers', 'workers')
  workers.hold('j1')
  drainablesOf(app).add(workers)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const listening = port(app)
  const shutdown = app.lifecycle.shutdown()
  await phase(app, 'workers')
  t.equal((await answer(get(app, '/live'))).statusCode, 200)
  t.equal((await answer(get(app, '/ready'))).statusCode, 503)
  workers.finish('j1')
  await shutdown
  await t.rejects(answer(httpRequest({ port: listening, host: '127.0.0.1', path: '/live' }).end()), { code: 'ECONNREFUSED' })
})

async function stream (session: ClientHttp2Session, path: string): Promise<{ status: number, body: string }> {
  const request = session.request({ ':path': path })
  const [headers] = await once(request, 'response') as [Record<string, unknown>]
  let body = ''
  request.setEncoding('utf8')
  for await (const chunk of request) body += chunk as string
  return { status: headers[':status'] as number, body }
}
