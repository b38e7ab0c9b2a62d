// What never ends by itself: event streams, WebSockets, connections of servers that app.server doesn't show.
import t, { type Test } from 'tap'
import dns from 'node:dns'
import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import { mock } from 'node:test'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, type FastifyServerOptions } from 'fastify'
import fp from 'fastify-plugin'
import { drainablesOf } from '../../plugins/shared/drainables.ts'
import lifecycle, { type LifecycleOptions } from '../../plugins/lifecycle/index.ts'
import { createApp, deferred, fakeDrainable, inFlight, phase } from './fixtures.ts'

const build = async (t: Test, options: LifecycleOptions = {}, server: FastifyServerOptions = {}): Promise<FastifyInstance> =>
  createApp(t, { timeout: 60_000, ...options }, server)

const portOf = (app: FastifyInstance): number => (app.server.address() as AddressInfo).port

async function open (app: FastifyInstance, path: string, method = 'GET'): Promise<{ ended: Promise<string> }> {
  const request = httpRequest({ port: portOf(app), host: '127.0.0.1', path, method }).end()
  const [response] = await once(request, 'response') as [IncomingMessage]
  const read = async (): Promise<string> => {
    let body = ''
    for await (const chunk of response) body += String(chunk)
    return body
  }
  return { ended: read() }
}

function writeEvents (_request: FastifyRequest, reply: FastifyReply): void {
  reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
  const timer = setInterval(() => { reply.raw.write('data: x\n\n') }, 1)
  reply.raw.once('close', () => clearInterval(timer))
}

t.test('event streams end cleanly when requests drain, however they are written', async (t) => {
  const app = await build(t)
  app.get('/raw', writeEvents)
  app.get('/hijacked', async (request, reply) => {
    reply.hijack()
    writeEvents(request, reply)
    await once(reply.raw, 'close')
  })
  app.get('/stream', async (_request, reply) => reply.type('text/event-stream').send(new Readable({ read () { setTimeout(() => this.push('data: x\n\n'), 1) } })))
  const always = { config: { lifecycle: 'always' } } as const
  app.get('/always', always, writeEvents)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const streams = await Promise.all(['/raw', '/hijacked', '/stream', '/always'].map(async (path) => open(app, path)))
  const { unfinished, durationMs } = await app.lifecycle.shutdown()
  for (const { ended } of streams) t.match(await ended, /^(data: x\n\n)*$/)
  t.same(unfinished, [])
  t.ok(durationMs < 30_000)
})

t.test('the connection of an event stream ends with it: a handler may wait for that, as NestJS does', async (t) => {
  const app = await build(t)
  app.get('/', async (request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream', connection: 'keep-alive' })
    reply.raw.write('data: x\n\n')
    await once(request.raw.socket, 'close')
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const client = connect(portOf(app), '127.0.0.1')
  t.teardown(() => client.destroy())
  client.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
  await once(client, 'data')
  const ended = once(client.resume(), 'end')
  t.match(await app.lifecycle.shutdown(), { completed: 1, unfinished: [] })
  await ended
})

t.test('HTTP/2: event streams end cleanly too', async (t) => {
  const app = await build(t, {}, { http2: true } as FastifyServerOptions)
  app.get('/', writeEvents)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = connectHttp2(`http://127.0.0.1:${portOf(app)}`)
  t.teardown(() => session.destroy())
  const stream = session.request({ ':path': '/' })
  await once(stream, 'response')
  const closed = once(stream.resume(), 'close')
  t.same((await app.lifecycle.shutdown()).unfinished, [])
  await closed
  t.equal(stream.rstCode, 0)
})

t.test('an event stream that answers a POST is one answer in parts: it is finished', async (t) => {
  const app = await build(t)
  const rest = deferred()
  app.post('/', async (_request, reply) => reply.type('text/event-stream').send(Readable.from((async function * () {
    yield 'data: first\n\n'
    await rest.promise
    yield 'data: [DONE]\n\n'
  })())))
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { ended } = await open(app, '/', 'POST')
  const shutdown = app.lifecycle.shutdown()
  await phase(app, 'requests')
  await new Promise((resolve) => setTimeout(resolve, 100))
  t.equal(app.lifecycle.phase, 'requests')
  rest.resolve()
  t.match(await ended, /\[DONE\]/)
  t.match(await shutdown, { completed: 1, unfinished: [] })
})

t.test('a shutdown hook of the application runs before the end of its event stream', async (t) => {
  const app = await build(t)
  app.get('/', (request, reply) => {
    reply.hijack()
    writeEvents(request, reply)
    app.lifecycle.onShutdown(async () => {
      await new Promise((resolve) => setTimeout(resolve, 120))
      reply.raw.end('event: bye\n\n')
    })
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { ended } = await open(app, '/')
  await app.lifecycle.shutdown()
  t.match(await ended, /event: bye\n\n$/)
})

/** Does what ws does with a connection, without the frames. */
function webSocket (socket: Socket): { close (code?: number): void } {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n')
  const client = {
    readyState: 1,
    close (code = 1005) {
      if (client.readyState !== 1) return
      client.readyState = 2
      socket.end(String(code))
    }
  }
  return Object.assign(socket, { [Symbol('websocket')]: client }) && client
}

/** Does what @fastify/websocket does: routes the request, hijacks, closes clients in preClose. */
const upgrades = fp(async (app: FastifyInstance) => {
  const { ServerResponse } = await import('node:http')
  const clients = new Set<ReturnType<typeof webSocket>>()
  app.server.on('upgrade', (request, socket) => {
    const response = new ServerResponse(request)
    response.assignSocket(socket as Socket)
    app.routing(request, response)
  })
  app.get('/ws', async (request, reply) => {
    reply.hijack()
    clients.add(webSocket(request.raw.socket))
  })
  app.addHook('preClose', async () => { for (const client of clients) client.close() })
}, { name: 'upgrades' })

async function upgrade (app: FastifyInstance, host = '127.0.0.1'): Promise<{ ended: Promise<string> }> {
  const request = httpRequest({ port: portOf(app), host, path: '/ws', headers: { connection: 'upgrade', upgrade: 'websocket' } }).end()
  const [, socket] = await once(request, 'upgrade') as [IncomingMessage, Socket]
  const read = async (): Promise<string> => {
    let all = ''
    for await (const chunk of socket) all += String(chunk)
    return all
  }
  return { ended: read() }
}

t.test('WebSockets are closed with 1001 when requests drain, and delay no phase', async (t) => {
  const app = await build(t)
  await app.register(upgrades)
  const tasks = fakeDrainable('tasks', 'tasks')
  drainablesOf(app).add(tasks)
  tasks.hold('long')
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { ended } = await upgrade(app)
  const shutdown = app.lifecycle.shutdown()
  await phase(app, 'tasks')
  t.equal(await ended, '1001', 'while tasks go on')
  tasks.finish('long')
  t.same((await shutdown).unfinished, [])
})

t.test('a WebSocket that waited for the last shutdown hook is closed with 1001 too', async (t) => {
  const app = await build(t)
  await app.register(upgrades)
  const answered = deferred()
  app.lifecycle.onShutdown(() => answered.promise)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { ended } = await upgrade(app)
  const shutdown = app.lifecycle.shutdown()
  await phase(app, 'requests')
  answered.resolve()
  await shutdown
  t.equal(await ended, '1001')
})

t.test('in a close(), the preClose hook of the plugin that upgraded a connection closes it, with its own code', async (t) => {
  const app = await build(t)
  await app.register(upgrades)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { ended } = await upgrade(app)
  await app.close()
  t.equal(await ended, '1005')
})

t.test('WebSockets without a request, such as those of a NestJS gateway, are closed with 1001 too', async (t) => {
  for (const how of ['shutdown', 'close'] as const) {
    const app = await build(t)
    app.server.on('upgrade', (_request, socket) => { webSocket(socket as Socket) })
    const tasks = fakeDrainable('tasks', 'tasks')
    drainablesOf(app).add(tasks)
    if (how === 'shutdown') tasks.hold('long')
    await app.listen({ port: 0, host: '127.0.0.1' })
    const { ended } = await upgrade(app)
    const closed = how === 'close' ? app.close() : app.lifecycle.shutdown()
    t.equal(await ended, '1001', how)
    if (how === 'shutdown') {
      t.equal(app.lifecycle.phase, 'tasks', 'while tasks go on')
      tasks.finish('long')
    }
    await closed
  }
})

/** Not every machine has ::1. Fastify makes a server for each address of localhost. */
function twoAddresses (t: Test): void {
  const { lookup } = dns
  const mocked = mock.method(dns, 'lookup', (...args: unknown[]) => {
    const [host, options, done] = args as [string, { all?: boolean }, (error: null, addresses: object[]) => void]
    if (host !== 'localhost' || options.all !== true) return (lookup as (...args: unknown[]) => void)(...args)
    setImmediate(done, null, ['127.0.0.1', '127.0.0.2'].map((address) => ({ address, family: 4 })))
  })
  t.teardown(() => mocked.mock.restore())
}

t.test('connections of the second server, which a listen() without a host makes, end with the first', async (t) => {
  twoAddresses(t)
  const app = await build(t, { timeout: 100, grace: 200 })
  await app.register(upgrades)
  await app.listen({ port: 0 })
  t.equal(app.addresses().length, 2)
  const half = connect(portOf(app), '127.0.0.2')
  half.write('GET / HTTP/1.1\r\nhost: x\r\n')
  half.on('error', () => {})
  const { ended } = await upgrade(app, '127.0.0.2')
  await app.lifecycle.shutdown()
  t.equal(await ended, '1001')
  if (!half.closed) await once(half, 'close')
})

t.test('the second server closes its HTTP/2 sessions', async (t) => {
  twoAddresses(t)
  const app = await build(t, { timeout: 1_000, grace: 200 }, { http2: true } as FastifyServerOptions)
  app.get('/', async () => 'hello')
  await app.listen({ port: 0 })
  t.equal(app.addresses().length, 2)
  const session = connectHttp2(`http://127.0.0.2:${portOf(app)}`)
  session.on('error', () => {})
  await once(session.request({ ':path': '/' }).resume(), 'end')
  const closed = once(session, 'close')
  await app.lifecycle.shutdown()
  await closed
})

t.test('forceCloseConnections: a close() cuts requests at once, a shutdown() finishes them', async (t) => {
  for (const how of ['close', 'shutdown'] as const) {
    const app = Fastify({ forceCloseConnections: true })
    await app.register(lifecycle, { timeout: 60_000 })
    const go = deferred()
    app.get('/', async () => { await go.promise; return 'done' })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const request = httpRequest({ port: portOf(app), host: '127.0.0.1' }).end()
    const outcome = once(request, 'response').then(() => 'answered', () => 'cut')
    await inFlight(app, 1)
    const closed = how === 'close' ? app.close() : app.lifecycle.shutdown()
    if (how === 'shutdown') go.resolve()
    t.equal(await outcome, how === 'close' ? 'cut' : 'answered')
    await closed
    go.resolve()
  }
})

t.test('return503OnClosing: false is honoured: requests are served as long as the server listens', async (t) => {
  const app = await build(t, {}, { return503OnClosing: false })
  const tasks = fakeDrainable('tasks', 'tasks')
  drainablesOf(app).add(tasks)
  tasks.hold('t1')
  app.get('/', async () => 'hello')
  await app.listen({ port: 0, host: '127.0.0.1' })
  const shutdown = app.lifecycle.shutdown()
  await phase(app, 'tasks')
  t.equal(await (await open(app, '/')).ended, 'hello')
  tasks.finish('t1')
  await shutdown
})
