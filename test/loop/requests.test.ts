// Requests that are held, over real sockets: all that Fastify, Node and other plugins do with requests goes on as without the loop.
import { AsyncLocalStorage } from 'node:async_hooks'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { request as httpRequest } from 'node:http'
import type { FastifyServerOptions } from 'fastify'
import t from 'tap'
import suite from '../../plugins/index.ts'
import { makeCertificate } from '../certificate.ts'
import { deferred, until } from '../helper.ts'
import { answer, connections, request, spin, startLoop, times, together } from './helper.ts'

t.test('requests that arrive in one turn start in turns of their own, in which a probe is answered', async (t) => {
  const order: string[] = []
  const { app, port } = await startLoop(t, {}, (app) => {
    app.get('/work', () => { order.push('work'); spin(10); return 'done' })
    app.get('/live', { config: { loop: false } }, () => { order.push('live'); return 'live' })
  })
  const answers = await together(app, port, [...times(8, '/work'), '/live'])
  t.strictSame(answers.map(({ status }) => status), times(9, 200))
  t.ok(order.indexOf('live') <= 1, 'after the one that was running, if any')
  const { passed, started, ...stats } = app.loop.stats()
  t.equal(passed + started, 9)
  t.ok(started >= 7)
  t.match(stats, { held: 0, left: 0, refused: { count: 0, wait: 0, shed: 0 } })
})

t.test('a request alone passes, and so do cheap ones that come together', async (t) => {
  const { app, port } = await startLoop(t, {}, (app) => { app.get('/', () => 'cheap') })
  for (let i = 0; i < 3; i++) t.equal((await app.inject('/')).statusCode, 200)
  t.strictSame((await together(app, port, times(5, '/'))).map(({ body }) => body), times(5, 'cheap'))
  t.equal(app.loop.stats().passed + app.loop.stats().started, 8)
})

t.test('each held request goes on in its own asynchronous context', async (t) => {
  const storage = new AsyncLocalStorage<string>()
  const started = await startLoop(t, {}, (app) => {
    app.get('/:name', async () => {
      const before = storage.getStore()
      spin(6)
      await null
      return `${before} ${storage.getStore()}`
    })
  })
  // As an APM does it: the context begins before Fastify sees the request.
  const names = times(6, 0).map((_, index) => `n${index}`)
  const emit = started.app.server.emit.bind(started.app.server) as (event: string, ...args: unknown[]) => boolean
  started.app.server.emit = (event: string, ...args: unknown[]) => {
    const { url } = (args[0] ?? {}) as { url?: string }
    return event === 'request' ? storage.run(String(url).slice(1), () => emit(event, ...args)) : emit(event, ...args)
  }
  const answers = await together(started.app, started.port, names.map((name) => `/${name}`))
  t.strictSame(answers.map(({ body }) => body), names.map((name) => `${name} ${name}`))
  t.ok(started.app.loop.stats().started > 0, 'some were held')
})

t.test('pipelined requests are answered in their order', async (t) => {
  const { app, port } = await startLoop(t, {}, (app) => {
    app.get('/:n', ({ params }) => { spin(6); return (params as { n: string }).n })
  })
  const [socket] = await connections(app, port, 1)
  const answered = new Promise<string>((resolve) => {
    let text = ''
    socket!.setEncoding('utf8').on('data', (chunk: string) => { text += chunk }).on('close', () => resolve(text))
  })
  const pipelined = [1, 2, 3, 4].map((n) => `GET /${n} HTTP/1.1\r\nHost: x\r\n\r\n`).join('')
  socket!.write(pipelined + request('/5'))
  t.strictSame([...(await answered).matchAll(/\r\n\r\n(\d)/g)].map(([, n]) => n), ['1', '2', '3', '4', '5'])
  t.ok(app.loop.stats().started >= 3)
})

t.test('a body of 8 MB that arrives while its request is held is whole', async (t) => {
  const body = Buffer.alloc(8 * 1024 * 1024, 'abcdefg')
  const sha = (data: Buffer): string => createHash('sha256').update(data).digest('hex')
  const { app, port } = await startLoop(t, {}, (app) => {
    app.addContentTypeParser('application/octet-stream', { parseAs: 'buffer' }, (_request, data, done) => done(null, data))
    app.post('/upload', { bodyLimit: 1e7 }, ({ body }) => sha(body as Buffer))
    app.get('/work', () => { spin(20); return '' })
  })
  const [upload, ...others] = await connections(app, port, 6)
  const uploaded = answer(upload!)
  const worked = others.map(answer)
  for (const socket of others) socket.write(request('/work'))
  upload!.write(`POST /upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/octet-stream\r\nContent-Length: ${body.length}\r\n\r\n`)
  upload!.write(body)
  t.equal((await uploaded).body, sha(body))
  await Promise.all(worked)
})

t.test('streams of HTTP/2 over TLS are held one by one, and a cancelled one never runs', async (t) => {
  const certificate = await makeCertificate(t)
  if (certificate === undefined) return t.comment('openssl is not installed')
  const ran: string[] = []
  const { app, port } = await startLoop(t, {}, (app) => {
    app.get('/:n', ({ params }) => { ran.push((params as { n: string }).n); spin(15); return 'done' })
  }, { http2: true, https: { key: certificate.key, cert: certificate.certificate } } as FastifyServerOptions)
  const session = connectHttp2(`https://localhost:${port}`, { ca: certificate.certificate })
  t.teardown(() => session.destroy())
  await once(session, 'connect')
  const streams = [1, 2, 3, 4].map((n) => session.request({ ':path': `/${n}` }))
  const ends = streams.map(async (stream, index) => index === 3 ? undefined : await once(stream.resume(), 'end'))
  streams[3]!.on('error', () => {})
  await until(() => ran.length > 0, 'the first runs')
  streams[3]!.close(8)
  await Promise.all(ends)
  await until(() => app.loop.stats().held === 0, 'nothing is held')
  t.strictSame(ran, ['1', '2', '3'])
  t.equal(app.loop.stats().left, 1)
})

t.test('a client that leaves while its request is held: the handler never runs', async (t) => {
  let runs = 0
  const { app, port } = await startLoop(t, {}, (app) => {
    app.get('/work', () => {
      if (++runs === 1) leaver!.destroy()
      spin(15)
      return ''
    })
  })
  const [leaver, ...others] = await connections(app, port, 4)
  leaver!.on('error', () => {})
  const answers = others.map(answer)
  for (const socket of others) socket.write(request('/work'))
  leaver!.write(request('/work'))
  t.strictSame((await Promise.all(answers)).map(({ status }) => status), [200, 200, 200])
  await until(() => app.loop.stats().left === 1, 'it is counted')
  t.equal(runs, 3)
})

for (const path of ['/missing', '/work']) {
  t.test(`inject() and HEAD are answered like others while requests are held: ${path}`, async (t) => {
    const { app } = await startLoop(t, {}, (app) => { app.get('/work', () => { spin(6); return 'done' }) })
    const answers = await Promise.all(times(6, 0).map(async (_, index) => app.inject({ method: index % 2 === 0 ? 'GET' : 'HEAD', url: path })))
    t.strictSame(answers.map(({ statusCode }) => statusCode), times(6, path === '/work' ? 200 : 404))
  })
}

t.test('close() serves what is held', async (t) => {
  const { app, port } = await startLoop(t, {}, (app) => {
    app.get('/work', () => {
      closed ??= app.close()
      spin(6)
      return 'done'
    })
  })
  let closed: Promise<undefined> | undefined
  const answers = await together(app, port, times(100, '/work'))
  t.strictSame(answers.map(({ status }) => status), times(100, 200))
  await closed
})

t.test('a shutdown of the suite serves what is held, and waits for none whose client has left', async (t) => {
  const { default: Fastify } = await import('fastify')
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(suite, { loop: {}, lifecycle: { timeout: 60_000 } })
  const report = deferred<{ drained: { requests: number }, unfinished: unknown[], durationMs: number }>()
  let isFirst = true
  app.get('/work', () => {
    if (isFirst) {
      leaver!.destroy()
      setImmediate(() => { void app.lifecycle.shutdown('test').then((value) => report.resolve(value as never)) })
    }
    isFirst = false
    spin(6)
    return 'done'
  })
  await app.listen({ port: 0 })
  const { port } = app.server.address() as { port: number }
  const [leaver, ...others] = await connections(app as never, port, 100)
  leaver!.on('error', () => {})
  const answers = others.map(answer)
  for (const socket of others) socket.write(request('/work'))
  leaver!.write(request('/work'))
  t.strictSame((await Promise.all(answers)).map(({ status }) => status), times(99, 200))
  const { unfinished, durationMs } = await report.promise
  t.strictSame(unfinished, [])
  t.ok(durationMs < 30_000, `the request that was left held up the shutdown: ${durationMs} ms`)
})

t.test('handlerTimeout passes while a request is held: Fastify answers, and the handler does not run', async (t) => {
  let runs = 0
  const { app, port } = await startLoop(t, {}, (app) => {
    app.get('/work', { handlerTimeout: 40 }, () => { runs++; spin(30); return 'done' })
  })
  const answers = await together(app, port, times(8, '/work'))
  const late = answers.filter(({ status }) => status === 503)
  t.ok(late.length > 0, 'some were late')
  for (const { body } of late) t.match(body, 'FST_ERR_HANDLER_TIMEOUT')
  t.equal(runs, 8 - late.length)
})

t.test('what a request throws outside of Fastify does not stop the others', async (t) => {
  const { app, port } = await startLoop(t, {}, (app) => {
    app.get('/work', () => { spin(6); return 'done' })
    app.get('/broken', () => { spin(6); return 'never' })
    // A callback hook that throws is outside of what Fastify catches.
    app.addHook('preHandler', ({ url }, _reply, done) => {
      if (url === '/broken') throw new Error('thrown by a hook')
      done()
    })
  })
  const thrown: unknown[] = []
  const listeners = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.on('uncaughtException', (error) => { thrown.push(error) })
  t.teardown(() => {
    process.removeAllListeners('uncaughtException')
    for (const listener of listeners) process.on('uncaughtException', listener)
  })
  const sockets = await connections(app, port, 6)
  const answers = sockets.map(answer)
  for (const [index, socket] of sockets.entries()) socket.write(request(index === 2 ? '/broken' : '/work'))
  const served = await Promise.all(answers.filter((_, index) => index !== 2))
  t.strictSame(served.map(({ status }) => status), times(5, 200))
  sockets[2]!.destroy()
})

t.test('an event stream goes on while requests are held, and is no load', async (t) => {
  const { app, port } = await startLoop(t, {}, (app) => {
    app.get('/events', (_request, reply) => {
      reply.hijack()
      reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
      reply.raw.write('data: 1\n\n')
      const timer = setInterval(() => { reply.raw.write('data: more\n\n') }, 5)
      reply.raw.on('close', () => clearInterval(timer))
    })
    app.get('/work', () => { spin(10); return '' })
  })
  let events = 0
  const stream = httpRequest({ port, path: '/events' }).end()
  const [response] = await once(stream, 'response') as [NodeJS.ReadableStream]
  response.on('data', () => { events++ })
  stream.on('error', () => {})
  const before = events
  await together(app, port, times(10, '/work'))
  t.ok(events > before, 'events came meanwhile')
  t.equal(app.loop.stats().routes.find(({ route }) => route === 'GET /events')?.count, 1)
  stream.destroy()
})
