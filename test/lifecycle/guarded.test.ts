import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { request } from 'node:https'
import { connect, type AddressInfo } from 'node:net'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import concurrency from '../../plugins/index.ts'
import { drainablesOf } from '../../plugins/shared/drainables.ts'
import { makeCertificate } from '../certificate.ts'
import { deferred, logLines, until, type LogLine } from '../helper.ts'

async function start (t: Test, options: object = {}): Promise<{ app: FastifyInstance, lines: LogLine[], port: () => number }> {
  const { lines, logger } = logLines()
  const app = Fastify({ logger }) as unknown as FastifyInstance
  t.teardown(async () => app.close())
  // What @fastify/express does.
  app.addHook('onRequest', async (_request, reply) => {
    Object.defineProperty(reply.raw, 'headersSent', { get: () => false, configurable: true })
  })
  await app.register(concurrency, { lifecycle: { timeout: 10_000, grace: 100, ...options }, locks: {} })
  return { app, lines, port: () => (app.server.address() as AddressInfo).port }
}

for (const how of ['shutdown', 'close'] as const) {
  t.test(`${how}() finishes a stream whose headersSent another plugin has defined anew`, async (t) => {
    const { app, lines, port } = await start(t)
    const body = new PassThrough()
    app.get('/', async () => body)
    await app.listen({ port: 0, host: '127.0.0.1' })
    body.write('begun')
    const response = await fetch(`http://127.0.0.1:${port()}/`)
    const text = response.text()
    const closed = how === 'shutdown' ? app.lifecycle.shutdown() : app.close()
    await until(() => app.lifecycle.phase === 'requests', 'it drains')
    body.end(' and finished')
    t.equal(await text, 'begun and finished')
    const report = await closed
    if (how === 'shutdown') t.match(report, { unfinished: [], completed: 1 })
    t.same(lines.filter(({ level }) => level >= 50), [], 'no step has failed')
  })
}

t.test('an error of one response, or of one drainable, is reported and does not end the drain of the others', async (t) => {
  const { app, lines, port } = await start(t, { timeout: 2_000 })
  const go = deferred()
  const done = deferred()
  app.get('/hostile', async (_request, reply) => {
    for (const name of ['setHeader', 'removeHeader', 'destroy']) {
      Object.defineProperty(reply.raw, name, { value: () => { throw new Error(`hostile ${name}`) }, configurable: true, writable: true })
    }
    await new Promise(() => {})
  })
  app.get('/good', async () => go.promise.then(() => 'answered'))
  await app.listen({ port: 0, host: '127.0.0.1' })
  drainablesOf(app).add({
    name: 'broken',
    phase: 'requests',
    get completed (): number { throw new Error('hostile completed') },
    get pending (): number { throw new Error('hostile pending') },
    close () {},
    idle: async () => {},
    lost () { throw new Error('hostile lost') },
    giveUp: async () => { throw new Error('hostile giveUp') }
  })
  const hostile = connect(port(), '127.0.0.1').on('error', () => {})
  hostile.write('GET /hostile HTTP/1.1\r\nhost: x\r\n\r\n')
  t.teardown(async () => { hostile.destroy() })
  const good = fetch(`http://127.0.0.1:${port()}/good`)
  app.tasks.submit('task', async () => { await done.promise })
  await until(() => lines.filter(({ msg }) => msg === 'incoming request').length === 2, 'both are in flight')
  const shutdown = app.lifecycle.shutdown()
  go.resolve()
  t.equal(await (await good).text(), 'answered')
  hostile.destroy()
  done.resolve()
  t.match(await shutdown, { unfinished: [{ kind: 'request', name: 'GET /hostile' }], completed: Number })
  const errors = lines.filter(({ level }) => level === 50).map(({ err }) => (err as { message?: string } | undefined)?.message)
  t.ok(errors.includes('hostile setHeader'))
  t.ok(errors.includes('hostile lost'))
})

for (const [what, sent] of [['nothing', ''], ['half a header', 'GET / HTTP/1.1\r\nhost:']] as const) {
  t.test(`a connection that has sent ${what} holds no shutdown up`, async (t) => {
    const { app, port } = await start(t)
    const answered = deferred()
    app.get('/', async () => { await answered.promise; return 'answered' })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const silent = connect(port(), '127.0.0.1').on('error', () => {})
    await once(silent, 'connect')
    if (sent !== '') silent.write(sent)
    const response = fetch(`http://127.0.0.1:${port()}/`)
    await until(() => app.lifecycle.phase === 'serving', 'it serves')
    const closed = new Promise((resolve) => { silent.once('close', resolve) })
    const since = performance.now()
    const shutdown = app.lifecycle.shutdown()
    answered.resolve()
    await response.then(async (each) => each.text(), () => {})
    const { durationMs } = await shutdown
    await closed
    t.ok(durationMs < 5_000)
    t.ok(Math.abs(durationMs - (performance.now() - since)) < 1_000, 'durationMs is the time that it took')
  })
}

for (const [what, part] of [['a request', ''], ['a request whose body is still to come', 'half']] as const) {
  t.test(`the connection of ${what} is answered while silent ones are closed, also if the shutdown doesn't wait for it`, async (t) => {
    const { app, port } = await start(t)
    const go = deferred()
    const answer = async (): Promise<string> => {
      await go.promise
      return 'answered'
    }
    app.route({ method: ['GET', 'POST'], url: '/', config: { lifecycle: 'always' }, handler: answer, preParsing: async (_request, _reply, payload) => { await go.promise; return payload } })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const client = connect(port(), '127.0.0.1')
    client.write(part === '' ? 'GET / HTTP/1.1\r\nhost: x\r\n\r\n' : `POST / HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-length: 8\r\n\r\n${part}`)
    const silent = connect(port(), '127.0.0.1').on('error', () => {})
    await Promise.all([once(app.server, 'request'), once(silent, 'connect')])
    const closed = once(silent, 'close')
    const shutdown = app.lifecycle.shutdown()
    await closed
    go.resolve()
    if (part !== '') client.write(part)
    const [answered] = await once(client, 'data') as [Buffer]
    t.match(answered.toString(), /^HTTP\/1.1 200 [^]*answered$/)
    t.match(await shutdown, { unfinished: [] })
  })
}

for (const protocol of ['HTTP/1', 'HTTP/2'] as const) {
  t.test(`a connection of TLS that never ends its handshake holds no shutdown up, and one that has is answered; ${protocol}`, async (t) => {
    const tls = await makeCertificate(t)
    if (tls === undefined) return t.comment('openssl is not installed')
    const go = deferred()
    const app = Fastify({ https: { key: tls.key, cert: tls.certificate }, http2: protocol === 'HTTP/2' } as never) as unknown as FastifyInstance
    t.teardown(async () => app.close())
    await app.register(concurrency, { lifecycle: { timeout: 60_000 } })
    app.get('/', { config: { lifecycle: 'always' } }, async () => { await go.promise; return 'answered' })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const { port } = app.server.address() as AddressInfo
    const silent = [connect(port, '127.0.0.1'), connect(port, '127.0.0.1')].map((socket) => socket.on('error', () => {}))
    silent[1]!.write(Buffer.from([22, 3, 1, 2, 0, 1]))
    const closed = Promise.all(silent.map(async (socket) => once(socket, 'close')))
    const requested = once(app.server, 'request')
    const answer = protocol === 'HTTP/1' ? askHttp1(port) : askHttp2(port)
    await Promise.all([requested, ...silent.map(async (socket) => socket.connecting ? once(socket, 'connect') : undefined)])
    const shutdown = app.lifecycle.shutdown()
    await closed
    go.resolve()
    t.equal(await answer, 'answered')
    t.match(await shutdown, { unfinished: [] })
  })
}

async function askHttp1 (port: number): Promise<string> {
  const [response] = await once(request({ port, host: '127.0.0.1', rejectUnauthorized: false, agent: false }).end(), 'response') as [IncomingMessage]
  return text(response)
}

async function askHttp2 (port: number): Promise<string> {
  const session = connectHttp2(`https://127.0.0.1:${port}`, { rejectUnauthorized: false })
  try {
    return await text(session.request({ ':path': '/' }))
  } finally {
    session.close()
  }
}

t.test('a lock that nobody releases is waited for until the deadline, and not once more when the app closes', async (t) => {
  const { app } = await start(t, { timeout: 300 })
  await app.locks.mutex('key').acquire()
  const since = performance.now()
  const { unfinished } = await app.lifecycle.shutdown()
  t.same(unfinished.map(({ kind }) => kind), ['lock'], 'and no hook that hangs')
  t.ok(performance.now() - since < 5_000)
})

t.test('twelve applications that drain together add one listener, and no warning', async (t) => {
  const warnings: Error[] = []
  const onWarning = (warning: Error): void => { warnings.push(warning) }
  process.on('warning', onWarning)
  t.teardown(async () => { process.off('warning', onWarning) })
  const before = process.listenerCount('exit')
  const release = deferred()
  const apps = await Promise.all(Array.from({ length: 12 }, async () => start(t)))
  for (const { app } of apps) app.tasks.submit('task', async () => release.promise)
  const shutdowns = apps.map(async ({ app }) => app.lifecycle.shutdown())
  await until(() => apps.every(({ app }) => app.lifecycle.phase === 'tasks'), 'all drain')
  t.equal(process.listenerCount('exit'), before + 1)
  release.resolve()
  await Promise.all(shutdowns)
  t.equal(process.listenerCount('exit'), before)
  t.same(warnings.filter(({ name }) => name === 'MaxListenersExceededWarning'), [])
})

t.test('@fastify/under-pressure, which calls the pressureHandler of a route in place of refusing it, lets the probes pass', async (t) => {
  const handlers: Record<string, unknown> = {}
  const app = Fastify() as unknown as FastifyInstance
  t.teardown(async () => app.close())
  app.addHook('onRoute', ({ url, config }) => { handlers[url] = (config as { pressureHandler?: unknown }).pressureHandler })
  await app.register(concurrency, { lifecycle: { readyPath: '/ready', livePath: '/live' } })
  await app.ready()
  for (const path of ['/ready', '/live']) t.equal((handlers[path] as () => unknown)(), undefined)
})
