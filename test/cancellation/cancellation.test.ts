import t from 'tap'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { once } from 'node:events'
import { Agent, ServerResponse, request as httpRequest, type ClientRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { connect as http2Connect } from 'node:http2'
import { connect, type AddressInfo, type Socket } from 'node:net'
import cancellation, { currentRequest } from '../../plugins/cancellation/index.ts'
import { deferred, until } from '../helper.ts'

function portOf (app: FastifyInstance): number {
  return (app.server.address() as AddressInfo).port
}

/** A server whose handler waits, after saying that it has begun, for `release`. */
async function waitingServer (t: Tap, server: object = {}) {
  const began = deferred<FastifyRequest>()
  const release = deferred()
  const app = Fastify({ ...server, forceCloseConnections: true }) as unknown as FastifyInstance
  t.teardown(async () => { release.resolve(); await app.close() })
  await app.register(cancellation)
  app.all('/', async (request) => {
    began.resolve(request)
    await release.promise
    return { aborted: request.disconnected.aborted }
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, began, release }
}
type Tap = { teardown: (done: () => Promise<void>) => void }

function send (app: FastifyInstance, options: RequestOptions = {}, body?: string): ClientRequest {
  const client = httpRequest({ port: portOf(app), host: '127.0.0.1', method: 'GET', agent: false, ...options })
  client.on('error', () => {}) // a client that leaves gets one
  client.end(body)
  return client
}

for (const [what, options, body] of [
  ['GET', {}, undefined],
  ['POST with a body', { method: 'POST', headers: { 'content-type': 'application/json' } }, '{"a":1}']
] as const) {
  t.test(`${what}: not disconnected while the client is there, nor after the response`, async (t) => {
    const { app, began, release } = await waitingServer(t)
    const client = send(app, options, body)
    const request = await began.promise
    const { disconnected } = request
    await new Promise((resolve) => setImmediate(resolve))
    t.equal(disconnected.aborted, false)
    release.resolve()
    const [response] = await once(client, 'response')
    let text = ''
    for await (const chunk of response) text += chunk
    t.same(JSON.parse(text), { aborted: false })
    await until(() => request.socket.destroyed, 'the connection is closed')
    t.equal(disconnected.aborted, false, 'a response that was sent whole is none that was left')
  })

  t.test(`${what}: disconnected when the client leaves`, async (t) => {
    const { app, began } = await waitingServer(t)
    const client = send(app, options, body)
    const { disconnected } = await began.promise
    client.destroy()
    await once(disconnected, 'abort')
    t.match(disconnected.reason, { name: 'AbortError', code: 'FC_ERR_CLIENT_GONE', statusCode: 499, message: 'The client has disconnected' })
  })

  t.test(`${what}: disconnected when first read after the client left`, async (t) => {
    const { app, began } = await waitingServer(t)
    const client = send(app, options, body)
    const request = await began.promise
    client.destroy()
    await until(() => request.socket.destroyed, 'the server has seen it')
    t.equal(request.disconnected.aborted, true)
  })
}

t.test('a client gone during the upload', async (t) => {
  const app = Fastify({ forceCloseConnections: true }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(cancellation)
  const seen = deferred<AbortSignal>()
  app.addHook('onRequest', async (request) => { seen.resolve(request.disconnected) })
  app.post('/', async () => 'never')
  await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect(portOf(app), '127.0.0.1')
  socket.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{"a":')
  const disconnected = await seen.promise
  socket.destroy()
  if (!disconnected.aborted) await once(disconnected, 'abort')
  t.ok(disconnected.aborted)
})

t.test('keep-alive: each request on one connection has its own', async (t) => {
  const app = Fastify({ forceCloseConnections: true }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(cancellation)
  const signals: AbortSignal[] = []
  app.get('/', async (request) => { signals.push(request.disconnected); return 'ok' })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  for (let n = 0; n < 3; n++) {
    const [response] = await once(send(app, { agent }), 'response')
    for await (const chunk of response) t.equal(String(chunk), 'ok')
  }
  agent.destroy()
  t.equal(new Set(signals).size, 3)
  t.ok(signals.every(({ aborted }) => !aborted))
})

t.test('HTTP/2: a stream reset is a disconnect, a finished stream is none', async (t) => {
  const { app, began, release } = await waitingServer(t, { http2: true })
  const session = http2Connect(`http://127.0.0.1:${portOf(app)}`)
  t.teardown(() => session.destroy())
  const stream = session.request({ ':path': '/', ':method': 'POST', 'content-type': 'application/json' })
  stream.on('error', () => {})
  stream.end('{"a":1}')
  const first = await began.promise
  const { disconnected } = first
  t.equal(disconnected.aborted, false)
  stream.close(8) // CANCEL
  if (!disconnected.aborted) await once(disconnected, 'abort')
  t.ok(disconnected.aborted)

  release.resolve()
  const served = session.request({ ':path': '/' })
  let text = ''
  for await (const chunk of served) text += chunk
  t.same(JSON.parse(text), { aborted: false })
})

t.test('HTTP/2: disconnected when first read after the client left', async (t) => {
  const { app, began } = await waitingServer(t, { http2: true })
  const session = http2Connect(`http://127.0.0.1:${portOf(app)}`)
  t.teardown(() => session.destroy())
  const stream = session.request({ ':path': '/' }).on('error', () => {})
  const request = await began.promise
  stream.close(8) // CANCEL
  await until(() => (request.raw as unknown as { stream: { destroyed: boolean } }).stream.destroyed, 'the server has seen it')
  t.equal(request.disconnected.aborted, true)
})

for (const [what, http2] of [['HTTP/1', false], ['HTTP/2', true]] as const) {
  t.test(`${what}: no disconnect once the answer was sent, be it first read before or afterwards`, async (t) => {
    const app = Fastify({ ...http2 && { http2 }, forceCloseConnections: true } as object) as unknown as FastifyInstance
    t.teardown(() => app.close())
    await app.register(cancellation)
    const requests: FastifyRequest[] = []
    app.get('/', async (request) => { if (requests.push(request) === 1) t.notOk(request.disconnected.aborted) })
    await app.listen({ port: 0, host: '127.0.0.1' })
    for (let n = 0; n < 2; n++) {
      if (http2) {
        const session = http2Connect(`http://127.0.0.1:${portOf(app)}`)
        const stream = session.request({ ':path': '/' }).resume()
        await once(stream, 'close')
        session.destroy()
      } else {
        const [response] = await once(send(app), 'response')
        await once(response.resume(), 'end')
      }
    }
    await until(() => requests.every(({ raw }) => raw.socket === undefined || raw.socket.destroyed), 'the connections are closed')
    await new Promise((resolve) => setImmediate(resolve))
    t.same(requests.map(({ disconnected }) => disconnected.aborted), [false, false])
  })
}

t.test('inject: neither before nor after the answer', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cancellation)
  let kept: AbortSignal | undefined
  app.post('/', async (request) => { kept = request.disconnected; return { aborted: kept.aborted } })
  t.same((await app.inject({ method: 'POST', url: '/', payload: { a: 1 } })).json(), { aborted: false })
  t.equal(kept?.aborted, false)
})

t.test('inject with a signal: its abort is a disconnect', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cancellation)
  const began = deferred<AbortSignal>()
  app.get('/', async (request) => { began.resolve(request.disconnected); await once(request.disconnected, 'abort'); return 'gone' })
  const controller = new AbortController()
  const response = app.inject({ url: '/', signal: controller.signal })
  const disconnected = await began.promise
  controller.abort()
  await t.rejects(response)
  await until(() => disconnected.aborted, 'the disconnect is seen')
})

t.test('the ambient request is known in hooks and handlers, with and without a body, and not outside', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cancellation)
  const seen: Array<string | undefined> = []
  app.addHook('preValidation', async () => { seen.push(currentRequest()?.id) })
  app.post('/', async (request) => {
    await new Promise((resolve) => setTimeout(resolve, 1))
    seen.push(currentRequest()?.id)
    return request.id
  })
  const ids = await Promise.all([1, 2].map(async () => (await app.inject({ method: 'POST', url: '/', payload: { big: 'x'.repeat(100_000) } })).body))
  t.same(seen.toSorted(), [...ids, ...ids].toSorted())
  t.equal(currentRequest(), undefined)
})

t.test('registered twice, and with ambient off', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cancellation, { ambient: false })
  await app.register(cancellation, { ambient: false })
  app.get('/', async () => ({ known: currentRequest() !== undefined }))
  t.same((await app.inject('/')).json(), { known: false })
  await t.rejects(async () => { await Fastify().register(cancellation, { ambient: 'no' as never }) }, { code: 'FC_ERR_OPTION_INVALID', message: /cancellation\.ambient/ })
})

t.test('request.disconnected that is read before the plugin\'s hook has run still aborts', async (t) => {
  const app = Fastify({ forceCloseConnections: true }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  app.addHook('onRequest', async (request) => { early.resolve(request.disconnected) })
  const early = deferred<AbortSignal>()
  await app.register(cancellation)
  app.get('/', async () => { await new Promise(() => {}) })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const client = send(app)
  const disconnected = await early.promise
  await new Promise((resolve) => setImmediate(resolve))
  client.destroy()
  if (!disconnected.aborted) await once(disconnected, 'abort')
  t.ok(disconnected.aborted)
})

t.test('of several registrations, one that asks for the ambient request is enough', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cancellation, { ambient: false })
  await app.register(cancellation, { ambient: true })
  app.get('/', async (request) => ({ same: currentRequest() === request }))
  t.same((await app.inject('/')).json(), { same: true })
})

t.test('an application that has its own request.disconnected fails at boot, not in its handlers', async (t) => {
  const app = Fastify() as unknown as FastifyInstance
  t.teardown(() => app.close())
  app.decorateRequest('disconnected', null as never)
  await t.rejects(async () => app.register(cancellation), { code: 'FST_ERR_DEC_ALREADY_PRESENT', message: /disconnected/ })
})

t.test('the request of a WebSocket is disconnected when its client leaves; its messages are handled outside the ambient request', async (t) => {
  const app = Fastify() as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(cancellation)
  // What @fastify/websocket does.
  app.server.on('upgrade', (request: IncomingMessage, socket: Socket) => {
    const response = new ServerResponse(request)
    response.assignSocket(socket)
    app.routing(request, response)
  })
  const received = deferred<{ ambient: FastifyRequest | undefined, signal: AbortSignal }>()
  app.get('/ws', async (request, reply) => {
    reply.hijack()
    request.raw.socket.on('end', () => request.raw.socket.end())
    request.raw.socket.on('data', () => received.resolve({ ambient: currentRequest(), signal: request.disconnected }))
    request.raw.socket.write('HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n')
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const client = httpRequest({ port: portOf(app), host: '127.0.0.1', path: '/ws', headers: { connection: 'upgrade', upgrade: 'websocket' } }).end()
  const [, socket] = await once(client, 'upgrade') as [IncomingMessage, Socket]
  socket.write('a message')
  const { ambient, signal } = await received.promise
  t.equal(ambient, undefined, 'so pass { request } there')
  t.equal(signal.aborted, false)
  socket.destroy()
  await until(() => signal.aborted, 'the client has left')
})
