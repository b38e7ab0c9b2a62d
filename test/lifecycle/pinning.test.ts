// What plugins/lifecycle leans on in Fastify and Node, and their types don't promise.
import t from 'tap'
import Fastify, { type FastifyRequest } from 'fastify'
import { tracingChannel, subscribe, unsubscribe } from 'node:diagnostics_channel'
import { request } from 'node:https'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { once } from 'node:events'
import { runsReadyHooks } from '../../plugins/lifecycle/requests/contexts.ts'
import { fastifyOptionsOf } from '../../plugins/shared/private.ts'
import { makeCertificate } from '../certificate.ts'

t.test('a request has its context, with the functions that Fastify calls', async (t) => {
  const app = Fastify()
  t.teardown(async () => app.close())
  let context: Record<string, unknown> | undefined
  app.addHook('onRequest', async (request: FastifyRequest) => {
    const kContext = Object.getOwnPropertySymbols(request).find(({ description }) => description === 'fastify.context')!
    context = (request as unknown as Record<symbol, Record<string, unknown>>)[kContext]
  })
  app.addHook('onResponse', async () => {})
  app.setErrorHandler((_error, _request, reply) => reply.code(418).send('root'))
  app.get('/', async () => 'hello')
  for (const path of ['/', '/nowhere']) {
    await app.inject(path)
    t.type(context?.['handler'], 'function', path)
    t.match(context?.['onResponse'], { length: 1 }, path)
    t.type((context?.['errorHandler'] as { func?: unknown }).func, 'function', path)
  }
})

t.test('the state and the options of the instance', async (t) => {
  const app = Fastify({ return503OnClosing: false })
  t.teardown(async () => app.close())
  t.equal(fastifyOptionsOf(app)['return503OnClosing'], false)
  const states: boolean[] = []
  app.addHook('onReady', async () => { states.push(runsReadyHooks(app)) })
  t.equal(runsReadyHooks(app), false)
  await app.ready()
  t.equal(runsReadyHooks(app), false)
  t.same(states, [true])
})

t.test('why the tracing channel is not used: with a subscriber, error handlers without a status code answer otherwise', async (t) => {
  const app = Fastify()
  t.teardown(async () => app.close())
  app.setErrorHandler((_error, _request, reply) => { void reply.send('handled') })
  app.get('/', async () => { throw new Error('oops') })
  t.equal((await app.inject('/')).statusCode, 200)
  const channel = tracingChannel('fastify.request.handler')
  const nothing = { start () {}, end () {}, asyncStart () {}, asyncEnd () {}, error () {} }
  channel.subscribe(nothing)
  t.teardown(() => channel.unsubscribe(nothing))
  t.equal((await app.inject('/')).statusCode, 500)
})

t.test('Node publishes each new socket, with its server', async (t) => {
  const app = Fastify()
  t.teardown(async () => app.close())
  await app.listen({ port: 0, host: '127.0.0.1' })
  const servers: unknown[] = []
  const listener = (message: unknown): void => { servers.push((message as { socket: Socket & { server: unknown } }).socket.server) }
  subscribe('net.server.socket', listener)
  t.teardown(() => unsubscribe('net.server.socket', listener))
  const connected = once(app.server, 'connection')
  const client = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  await connected
  await new Promise(setImmediate)
  t.equal(servers.at(-1), app.server)
  client.destroy()
})

t.test('Node keeps the parser of a connection, the response whose turn it is, and, of TLS, the socket below', async (t) => {
  const tls = await makeCertificate(t)
  if (tls === undefined) return t.comment('openssl is not installed')
  const app = Fastify({ https: { key: tls.key, cert: tls.certificate } })
  t.teardown(async () => app.close())
  const seen: unknown[] = []
  app.get('/', async ({ raw: { socket } }, reply) => {
    const { parser, _httpMessage: response, _parent: below } = socket as never as Record<string, unknown>
    seen.push(typeof parser, response === reply.raw, below)
    return 'answered'
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const connected = once(app.server, 'connection')
  const { port } = app.server.address() as AddressInfo
  const asked = request({ port, host: '127.0.0.1', rejectUnauthorized: false, agent: false }).end()
  const [[socket], [response]] = await Promise.all([connected, once(asked, 'response')])
  response.resume()
  t.strictSame(seen.slice(0, 2), ['object', true])
  t.equal(seen[2], socket)
})
