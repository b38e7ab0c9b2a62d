// What a shutdown waits for, and what it lets go: see the rule at the head of plugins/lifecycle/requests/requests.ts.
import t, { type Test } from 'tap'
import { once } from 'node:events'
import { request as httpRequest, type ClientRequest } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { connect, type AddressInfo } from 'node:net'
import { PassThrough } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyServerOptions } from 'fastify'
import fp from 'fastify-plugin'
import { drainablesOf, type Drainable } from '../../../plugins/shared/drainables.ts'
import lifecycle, { type LifecycleOptions } from '../../../plugins/lifecycle/index.ts'
import { createApp, deferred, inFlight, phase } from '../fixtures.ts'

const build = async (t: Test, options: LifecycleOptions = {}, server: FastifyServerOptions = {}): Promise<FastifyInstance> =>
  createApp(t, { timeout: 20_000, ...options }, server)

async function listen (app: FastifyInstance): Promise<number> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

function get (port: number, path: string): ClientRequest {
  const client = httpRequest({ port, host: '127.0.0.1', path }).end()
  client.on('error', () => {})
  return client
}

async function read (request: ClientRequest): Promise<string> {
  const [response] = await once(request, 'response') as [AsyncIterable<Buffer>]
  let body = ''
  for await (const chunk of response) body += String(chunk)
  return body
}

function requestsOf (app: FastifyInstance): Drainable {
  return [...drainablesOf(app)].find(({ name }) => name === 'requests')!
}

/** Whether the promise has settled, some turns of the event loop later. */
async function settles (promise: Promise<unknown>, turns = 20): Promise<boolean> {
  let settled = false
  promise.then(() => { settled = true }, () => { settled = true })
  for (let i = 0; i < turns; i++) await turn()
  return settled
}

t.test('a lazy query that a handler returns runs once, whether the handler is async or not', async (t) => {
  const app = await build(t)
  let runs = 0
  class Query {
    then (resolve: (rows: string[]) => void): void {
      runs++
      setImmediate(resolve, ['ada'])
    }
  }
  class LazyPromise<T> extends Promise<T> {}
  const then = Reflect.get(Promise.prototype, 'then') as (...handlers: unknown[]) => unknown
  Object.defineProperty(LazyPromise.prototype, 'then', {
    value (...handlers: unknown[]) {
      runs++
      return then.apply(this, handlers)
    }
  })
  app.get('/returned', () => new Query())
  app.get('/async', async () => new Query())
  app.get('/subclass', () => LazyPromise.resolve(['ada']))
  app.setErrorHandler(() => new Query())
  app.get('/error', () => { throw new Error('oops') })
  app.setNotFoundHandler(() => new Query())
  for (const path of ['/returned', '/async', '/subclass', '/error', '/nowhere']) {
    runs = 0
    t.same((await app.inject(path)).json(), ['ada'], path)
    t.equal(runs, 1, path)
  }
})

t.test('other plugins see each handler as it was given, and what it returns passes by identity', async (t) => {
  const app = await build(t)
  const seen: unknown[] = []
  app.addHook('onRoute', ({ handler }) => { seen.push(handler) })
  async function named (this: FastifyInstance): Promise<boolean> { return this === app }
  app.get('/', named)
  t.same((await app.inject('/')).json(), true)
  t.equal(seen[0], named)
})

t.test('an error handler that sets no status code answers as it does without the suite', async (t) => {
  const app = await build(t)
  app.setErrorHandler((_error, _request, reply) => { void reply.send('handled') })
  app.get('/', async () => { throw new Error('oops') })
  const bare = Fastify()
  bare.setErrorHandler((_error, _request, reply) => { void reply.send('handled') })
  bare.get('/', async () => { throw new Error('oops') })
  t.equal((await app.inject('/')).statusCode, (await bare.inject('/')).statusCode)
})

type Work = (go: Promise<void>, done: () => void) => (app: FastifyInstance) => void

/** Each does something that its client doesn't wait for any more. */
const answersFirst: Record<string, Work> = {
  'a handler': (go, done) => (app) => app.get('/', async (_request, reply) => {
    void reply.send('answered')
    await go
    done()
  }),
  'an error handler': (go, done) => (app) => {
    app.setErrorHandler(async (_error, _request, reply) => {
      void reply.send('answered')
      await go
      done()
    })
    app.get('/', async () => { throw new Error('oops') })
  },
  'an error handler after a hook has failed': (go, done) => (app) => {
    app.setErrorHandler(async (_error, _request, reply) => {
      void reply.send('answered')
      await go
      done()
    })
    app.get('/', { preHandler: async () => { throw new Error('oops') } }, async () => 'never')
  },
  'a not-found handler': (go, done) => (app) => app.setNotFoundHandler(async (_request, reply) => {
    void reply.send('answered')
    await go
    done()
  }),
  'an onResponse hook': (go, done) => (app) => {
    app.addHook('onResponse', async () => {
      await go
      done()
    })
    app.get('/', async () => 'answered')
  },
  'an onResponse hook with a callback, of a request without a route': (go, done) => (app) => {
    app.addHook('onResponse', (_request, _reply, next) => { void go.then(() => { done(); next() }) })
    app.setNotFoundHandler(async () => 'answered')
  },
  'the second of two onResponse hooks': (go, done) => (app) => {
    app.get('/', { onResponse: [async () => {}, async () => { await go; done() }] }, async () => 'answered')
  },
  'a handler that has hijacked its reply': (go, done) => (app) => app.get('/', async (_request, reply) => {
    await turn()
    reply.hijack()
    reply.raw.end('answered')
    await go
    done()
  })
}

for (const [what, work] of Object.entries(answersFirst)) {
  t.test(`${what} that works on after the answer is waited for`, async (t) => {
    const app = await build(t)
    const go = deferred()
    let done = false
    work(go.promise, () => { done = true })(app)
    const port = await listen(app)
    t.equal(await read(get(port, '/')), 'answered')
    const shutdown = app.lifecycle.shutdown()
    t.equal(await settles(shutdown), false)
    go.resolve()
    t.match(await shutdown, { completed: 1, unfinished: [] })
    t.ok(done)
  })
}

/** Each is in the middle of a write when its client leaves. */
const leftAlone: Record<string, Work> = {
  'a handler': (go, done) => (app) => app.get('/', async () => {
    await go
    done()
  }),
  'a handler that answers with a callback': (go, done) => (app) => app.get('/', (_request, reply) => {
    void go.then(() => {
      done()
      void reply.send('late')
    })
  }),
  'a handler that returns a query': (go, done) => (app) => app.get('/', () => ({
    then (resolve: (value: string) => void) { void go.then(() => { done(); resolve('late') }) }
  })),
  'a handler that has hijacked its reply': (go, done) => (app) => app.get('/', async (_request, reply) => {
    await turn()
    reply.hijack()
    await go
    done()
  }),
  'a hook before the handler': (go, done) => (app) => app.get('/', { preHandler: async () => go }, async () => done()),
  'a not-found handler': (go, done) => (app) => app.setNotFoundHandler(async () => {
    await go
    done()
  }),
  'an error handler': (go, done) => (app) => {
    app.setErrorHandler(async () => {
      await go
      done()
    })
    app.get('/', async () => { throw new Error('oops') })
  }
}

for (const [what, work] of Object.entries(leftAlone)) {
  for (const registered of ['awaited', 'not awaited']) {
    t.test(`${what} whose client has left is waited for; registration ${registered}`, async (t) => {
      const app = Fastify()
      t.teardown(async () => app.close())
      const registration = app.register(lifecycle, { timeout: 20_000, grace: 5_000 })
      if (registered === 'awaited') await registration
      const go = deferred()
      let done = false
      let closedAfter: boolean | undefined
      work(go.promise, () => { done = true })(app)
      app.addHook('onClose', async () => { closedAfter = done })
      const port = await listen(app)
      const arrived = once(app.server, 'request')
      const client = get(port, '/')
      const [, response] = await arrived as [unknown, FastifyReply['raw']]
      const gone = once(response, 'close')
      client.destroy()
      await gone
      const shutdown = app.lifecycle.shutdown()
      t.equal(await settles(shutdown), false)
      go.resolve()
      t.match(await shutdown, { unfinished: [] })
      t.equal(closedAfter, true, 'before the database is closed')
    })
  }
}

t.test('a handler that never settles is given up some time after its client has left, and holds up no later shutdown', async (t) => {
  const app = await build(t, { timeout: 100, grace: 10 })
  app.get('/', async () => new Promise(() => {}))
  const port = await listen(app)
  const client = get(port, '/')
  await inFlight(app, 1)
  client.destroy()
  await inFlight(app, 0)
  t.match(await app.lifecycle.shutdown(), { completed: 0, unfinished: [] })
})

t.test('a shutdown that gives up a handler whose client has left reports it', async (t) => {
  const app = await build(t, { timeout: 300, grace: 10 })
  const reachable: unknown[] = []
  let release: (value: string) => void
  app.get('/stuck', async (_request, reply) => new Promise((resolve) => {
    reachable.push(reply)
    release = resolve
  }))
  const port = await listen(app)
  const arrived = once(app.server, 'request')
  const client = get(port, '/stuck')
  const [, response] = await arrived as [unknown, FastifyReply['raw']]
  client.destroy()
  await once(response, 'close')
  t.match(await app.lifecycle.shutdown(), { completed: 0, unfinished: [{ kind: 'request', name: 'GET /stuck' }] })
  release!('late')
})

t.test('a hook that ends the connection and never calls done holds nothing up', async (t) => {
  const app = await build(t)
  app.addHook('onRequest', (request, _reply, done) => {
    if (request.url !== '/banned') return done()
    request.raw.socket.destroy()
  })
  app.get('/banned', async () => 'never')
  const port = await listen(app)
  const client = get(port, '/banned')
  await new Promise((resolve) => client.once('close', resolve))
  t.equal(await settles(app.lifecycle.shutdown().then(async () => inFlight(app, 0)), 1_000), true)
})

t.test('an onResponse hook that fails ends the request all the same', async (t) => {
  const app = await build(t)
  app.addHook('onResponse', async () => { throw new Error('oops') })
  app.addHook('onResponse', async () => {})
  app.get('/', async () => 'hello')
  const port = await listen(app)
  await read(get(port, '/'))
  await inFlight(app, 0)
})

t.test('HTTP/2: a handler that works on after the answer, and one whose client has left, are waited for', async (t) => {
  const app = await build(t, {}, { http2: true } as FastifyServerOptions)
  const [first, second] = [deferred(), deferred()]
  app.get('/first', async (_request, reply) => {
    void reply.send('answered')
    await first.promise
  })
  app.get('/second', async () => second.promise)
  const session = connectHttp2(`http://127.0.0.1:${await listen(app)}`)
  t.teardown(() => session.destroy())
  await once(session.request({ ':path': '/first' }).resume(), 'close')
  const leaving = session.request({ ':path': '/second' })
  await inFlight(app, 2)
  leaving.close()
  await once(leaving, 'close')
  const shutdown = app.lifecycle.shutdown()
  t.equal(await settles(shutdown), false)
  first.resolve()
  t.equal(await settles(shutdown), false)
  second.resolve()
  t.match(await shutdown, { unfinished: [] })
})

t.test('a request that Fastify answers without decorators is answered as ever: unknown HTTP/2 methods, bad URLs', async (t) => {
  const app = await build(t, {}, { http2: true } as FastifyServerOptions)
  const session = connectHttp2(`http://127.0.0.1:${await listen(app)}`)
  t.teardown(() => session.destroy())
  const ask = async (method: string, path: string): Promise<string> => {
    const stream = session.request({ ':method': method, ':path': path })
    const [headers] = await once(stream, 'response') as [Record<string, unknown>]
    let body = ''
    for await (const chunk of stream) body += String(chunk)
    return `${String(headers[':status'])} ${body}`
  }
  for (const answer of [await ask('TROLL', '/'), await ask('PUT', '/%c0')]) {
    t.match(answer, /^40[04] /)
    t.notMatch(answer, /undefined|Cannot read/)
  }
  await inFlight(app, 0)
})

t.test('a request without a socket, as injectWS of @fastify/websocket makes it, is served', async (t) => {
  const app = await build(t)
  app.get('/', async () => 'hello')
  await app.ready()
  const { ServerResponse } = await import('node:http')
  const made = { method: 'GET', url: '/', headers: { upgrade: 'websocket' }, httpVersion: '1.1' }
  const response = new ServerResponse(made as never)
  const stream = new PassThrough()
  response.assignSocket(stream as never)
  response.once('finish', () => stream.destroy())
  app.routing(made as never, response)
  const [chunk] = await once(stream, 'data') as [Buffer]
  t.match(String(chunk), /200 OK/)
  t.equal(await settles(app.lifecycle.shutdown(), 200), true)
})

t.test('a request of inject() that nobody answers, or whose stream never ends, does not hold up close()', async (t) => {
  const app = await build(t, { grace: 10 })
  const entered = deferred()
  const go = deferred()
  app.get('/never', () => {})
  app.get('/hijacked', { onRequest: (_request, reply) => { reply.hijack() } }, async () => 'never')
  app.get('/stream', (_request, reply) => reply.send(new PassThrough()))
  app.get('/works', async () => {
    entered.resolve()
    await go.promise
    return 'done'
  })
  await app.ready()
  for (const path of ['/never', '/hijacked', '/stream']) app.inject(path, () => t.fail('was answered'))
  const working = app.inject('/works')
  await entered.promise
  await inFlight(app, 4)

  const closed = app.lifecycle.shutdown()
  // The handler that runs is waited for, past the grace.
  await inFlight(app, 1)
  t.equal(await settles(closed), false)
  go.resolve()
  t.equal((await working).body, 'done')
  t.same((await closed).unfinished, [])
})

t.test('a destroyed log stream does not make close() reject', async (t) => {
  const lines = { write () { throw new Error('SonicBoom destroyed') } }
  const app = Fastify({ logger: { level: 'error', stream: lines } })
  await app.register(lifecycle)
  app.get('/', async () => 'hello')
  await app.ready()
  app.log.level = 'trace'
  await t.resolves(app.close())
})

t.test('pipelined requests whose client leaves are let go', async (t) => {
  const app = await build(t, { timeout: 100, grace: 10 })
  app.get('/', async () => new Promise(() => {}))
  const port = await listen(app)
  const socket = connect(port, '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(10))
  await inFlight(app, 10)
  socket.destroy()
  await inFlight(app, 0)
  t.equal(requestsOf(app).held?.().length, 0)
})

t.test('a plugin around a child context: what its hooks and handlers leave behind is waited for too', async (t) => {
  const app = await build(t)
  const go = deferred()
  await app.register(fp(async (app) => {
    app.register(async (child) => {
      child.addHook('onResponse', async () => go.promise)
      child.get('/child', async () => 'hello')
    })
  }))
  const port = await listen(app)
  await read(get(port, '/child'))
  const shutdown = app.lifecycle.shutdown()
  await phase(app, 'requests')
  t.equal(await settles(shutdown), false)
  go.resolve()
  await shutdown
})
