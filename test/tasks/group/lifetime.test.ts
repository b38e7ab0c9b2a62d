// How long a group lives: what keeps it, what aborts it, and what it leaves behind.
import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { getEventListeners, once, setMaxListeners } from 'node:events'
import { request as httpRequest } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { connect, type AddressInfo } from 'node:net'
import { PassThrough } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import concurrency from '../../../plugins/index.ts'
import tasks, { type Group, type TasksOptions } from '../../../plugins/tasks/index.ts'
import { Group as BareGroup } from '../../../plugins/tasks/group/group.ts'
import { assertIdle } from '../../../plugins/testing.ts'
import { deferred, logLines, rejection, until, type LogLine } from '../../helper.ts'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

/** Collects what nothing refers to, also what only the current turn of the event loop keeps. */
async function collectGarbage (): Promise<void> {
  for (let i = 0; i < 4; i++) {
    await turn()
    gc()
  }
}

async function build (t: Test, options: TasksOptions = {}): Promise<{ app: FastifyInstance, lines: LogLine[] }> {
  const { lines, logger } = logLines()
  const app = Fastify({ logger }) as unknown as FastifyInstance
  t.teardown(async () => {
    await app.close()
    await assertIdle(app)
  })
  await app.register(tasks, options)
  return { app, lines }
}

/** Sends a GET from a client that may leave. */
async function visit (app: FastifyInstance, path: string): Promise<{ leave (): void }> {
  if (!app.server.listening) await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`)
  return { leave: () => socket.destroy() }
}

async function * silent (): AsyncGenerator<number> {
  yield 1
  await new Promise(() => {})
}

/** Ways of waiting for the abort, in which nothing but the group's signal keeps the code that waits. */
const ways: Record<string, (group: Group<unknown>, aborted: () => void) => unknown> = {
  'a function of go()': (group, aborted) => group.go(async ({ signal }) => {
    await once(signal, 'abort')
    aborted()
  }),
  'map() of an iterable that says nothing': (group, aborted) => group.map(silent(), (item) => item).catch(aborted),
  'a function of map()': (group, aborted) => group.map([1], async (_item, { signal }) => {
    await once(signal, 'abort')
    aborted()
  }).catch(() => {}),
  'a function of race()': (group, aborted) => group.race([async ({ signal }) => {
    await once(signal, 'abort')
    aborted()
  }]).catch(() => {}),
  'the signal of the group': (group, aborted) => { void once(group.signal, 'abort').then(aborted) }
}

for (const [what, wait] of Object.entries(ways)) {
  t.test(`${what} hears of an abort after a garbage collection`, async (t) => {
    const parent = new AbortController()
    let heard = 0
    wait(new BareGroup(1, [parent.signal]), () => { heard++ })
    await collectGarbage()
    parent.abort(new Error('gone'))
    await until(() => heard === 1, 'a signal of the caller')

    const { app } = await build(t)
    const entered = deferred()
    const ended = deferred()
    app.get('/', async () => {
      wait(app.tasks.group({ limit: 1 }), () => { heard++ })
      entered.resolve()
      await ended.promise
    })
    const client = await visit(app, '/')
    await entered.promise
    await collectGarbage()
    client.leave()
    await until(() => heard === 2, 'the client leaves')

    const cancelled = app.tasks.submit('task', async () => {
      wait(app.tasks.group({ limit: 1 }), () => { heard++ })
      await ended.promise
    })
    await until(() => cancelled.status === 'running', 'it runs')
    await collectGarbage()
    cancelled.cancel()
    await until(() => heard === 3, 'the task is cancelled')
    ended.resolve()
  })
}

t.test('the deadline of a task aborts its group after a garbage collection', async (t) => {
  const { app } = await build(t)
  let heard = false
  const late = app.tasks.submit('late', async () => {
    const group = app.tasks.group()
    void group.go(async ({ signal }) => {
      await once(signal, 'abort')
      heard = true
    })
    await group.wait()
  }, { timeout: 300 })
  await until(() => late.status === 'running', 'it runs')
  await collectGarbage()
  await until(() => heard, 'its deadline')
})

const work: Record<string, (group: Group<unknown>) => unknown> = {
  nothing: () => {},
  'go()': (group) => group.go(() => turn()),
  'tryGo()': (group) => group.tryGo(() => {}),
  'map()': (group) => group.map([1, 2], (item) => item),
  'map() that fails': (group) => group.map([1, 2], () => { throw new Error('failed') }).catch(() => {}),
  'race()': (group) => group.race([() => 1, () => 2]),
  'signal and wait()': (group) => group.signal.aborted ? undefined : group.wait()
}

for (const [what, run] of Object.entries(work)) {
  t.test(`${what} leaves no listener on the signals of its parents`, async (t) => {
    const { app } = await build(t)
    const parent = new AbortController()
    setMaxListeners(0, parent.signal)
    let listeners: number[] = []
    app.get('/', async (request) => {
      for (let i = 0; i < 20; i++) await run(app.tasks.group({ signal: parent.signal }))
      await turn()
      await turn()
      listeners = [parent.signal, request.disconnected].map((signal) => getEventListeners(signal, 'abort').length)
    })
    await app.inject('/')
    t.strictSame(listeners, [0, 0])
  })
}

t.test('many groups at once in one request, and many functions in one group, bring no warning', async (t) => {
  const { app } = await build(t)
  const warnings: Error[] = []
  const onWarning = (warning: Error): void => { warnings.push(warning) }
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  app.get('/', async () => {
    const outer = app.tasks.group()
    await outer.map(Array.from({ length: 20 }), async (_, { signal }) => {
      signal.addEventListener('abort', () => {})
      await app.tasks.group().map([1], () => turn())
    })
    await outer.race(Array.from({ length: 20 }, () => async ({ signal }) => { signal.addEventListener('abort', () => {}) }))
  })
  t.equal((await app.inject('/')).statusCode, 200)
  await turn()
  t.strictSame(warnings, [])
})

t.test('an error that many requests throw stays as it is: it never carries the errors of another request', async (t) => {
  const { app, lines } = await build(t)
  const shared = new Error('unavailable')
  app.get<{ Params: { secret: string } }>('/:secret', async ({ params: { secret } }) => {
    const group = app.tasks.group()
    const both = deferred()
    const mapped = await rejection(group.map([0, 1], async (index) => {
      if (index === 1) both.resolve()   // on a slow machine, a turn of the event loop ends between the two
      await both.promise
      throw index === 0 ? shared : new Error(secret)
    }))
    t.equal(mapped, shared)
    t.match(group.errors, [{ message: secret }])
    return Object.getOwnPropertyNames(mapped)
  })
  const names = Object.getOwnPropertyNames(shared)
  t.same((await app.inject('/first')).json(), names)
  t.same((await app.inject('/second')).json(), names)
  t.match(lines.filter(({ msg }) => msg.startsWith('another function of a group')), [{ level: 20, err: { message: 'first' } }, { level: 20, err: { message: 'second' } }])
})

/** Ways of leaving a group behind. Each calls `aborted` when it hears that it is. */
const abandoned: Record<string, (group: Group<unknown>, aborted: () => void) => unknown> = {
  'go()': (group, aborted) => group.go(async ({ signal }) => {
    await once(signal, 'abort')
    aborted()
  }),
  'map()': (group, aborted) => {
    void group.map((async function * () {
      try {
        for (let i = 0; ; i++) yield i
      } finally {
        aborted()
      }
    })(), () => turn())
  },
  'race()': (group, aborted) => {
    void group.race([async ({ signal }) => {
      await once(signal, 'abort')
      aborted()
      throw signal.reason
    }])
  },
  'wait()': (group, aborted) => {
    void group.go(async ({ signal }) => {
      await once(signal, 'abort')
      aborted()
      throw signal.reason
    })
    void group.wait()
  }
}

for (const [what, leave] of Object.entries(abandoned)) {
  t.test(`${what} that the handler doesn't await is aborted when the request has been answered, and reported`, async (t) => {
    const { app, lines } = await build(t)
    let heard = false
    let kept: Group<unknown> | undefined
    app.get('/', async () => {
      leave(app.tasks.group(), () => { heard = true })
      kept = app.tasks.group({ detached: true })
      return 'answered'
    })
    t.equal((await app.inject('/')).body, 'answered')
    await until(() => heard, 'it was aborted')
    await assertIdle(app)
    const reports = (): LogLine[] => lines.filter(({ msg }) => msg.startsWith('a group has failed'))
    await until(() => reports().length > 0, 'its report')
    await turn()
    t.match(reports(), [{ level: 40, err: { code: 'FC_ERR_REQUEST_ENDED' } }])
    t.equal(reports().length, 1)
    t.equal(kept?.signal.aborted, false, 'a detached group goes on')
  })
}

t.test('a group works as long as its response is sent, on a connection that goes on', async (t) => {
  const { app } = await build(t)
  const body = new PassThrough()
  const inside = deferred<Group<unknown>>()
  app.get('/', async () => {
    const group = app.tasks.group()
    void group.go(async ({ signal }) => {
      body.write('begun')
      await once(signal, 'abort')
    })
    inside.resolve(group)
    return body
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const request = httpRequest({ port: (app.server.address() as AddressInfo).port, host: '127.0.0.1' })
  request.end()
  const [response] = await once(request, 'response') as [NodeJS.ReadableStream]
  t.equal(String((await once(response, 'data'))[0]), 'begun')
  const group = await inside.promise
  await turn()
  t.equal(group.signal.aborted, false)
  body.end()
  response.resume()
  await until(() => group.signal.aborted, 'the response has been sent')
  t.match(group.signal.reason, { code: 'FC_ERR_REQUEST_ENDED' })
})

t.test('a group that is made when its request has been answered is not bound to it', async (t) => {
  const { app } = await build(t)
  const outcomes: unknown[] = []
  const work = async (): Promise<void> => {
    outcomes.push(await app.tasks.group().map([1, 2], async (item) => {
      await turn()
      return item
    }))
  }
  app.addHook('onResponse', work)
  app.get('/', async (_request, reply) => {
    void reply.send('answered')
    await once(reply.raw, 'close')
    await work()
  })
  await app.inject('/')
  await until(() => outcomes.length === 2, 'inject()')
  const client = await visit(app, '/')
  await until(() => outcomes.length === 4, 'a connection')
  client.leave()
  t.strictSame(outcomes, Array.from({ length: 4 }, () => [1, 2]))
})

t.test('over HTTP/2 too, the client that leaves is the reason of the abort, and the answer otherwise', async (t) => {
  const app = Fastify({ http2: true }) as unknown as FastifyInstance
  t.teardown(async () => app.close())
  await app.register(tasks)
  const groups: Array<Group<unknown>> = []
  const go = deferred()
  app.get('/:what', async (request) => {
    const group = app.tasks.group()
    t.equal(group.signal.aborted, false)
    groups.push(group)
    if ((request.params as { what: string }).what === 'waits') await go.promise
    return 'answered'
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = connectHttp2(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  t.teardown(() => session.destroy())
  session.request({ ':path': '/answers' }).resume()
  await until(() => groups[0]?.signal.aborted === true, 'the answer')
  t.match(groups[0]!.signal.reason, { code: 'FC_ERR_REQUEST_ENDED' })
  const waits = session.request({ ':path': '/waits' })
  await until(() => groups.length === 2, 'it is in its handler')
  waits.close()
  await until(() => groups[1]!.signal.aborted, 'the client has left')
  t.match(groups[1]!.signal.reason, { name: 'AbortError' })
  go.resolve()
})

t.test('a client that leaves during a group is no failure of the service in the log', async (t) => {
  const { app, lines } = await build(t)
  const began = deferred()
  app.get('/', async () => app.tasks.group().map([1], async (_item, { signal }) => {
    began.resolve()
    await once(signal, 'abort')
    throw signal.reason
  }))
  await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  await began.promise
  socket.destroy()
  await until(() => lines.some(({ err }) => err !== undefined), 'the line of the error')
  t.match(lines.filter(({ err }) => err !== undefined), [{ level: 30, err: { code: 'FC_ERR_CLIENT_GONE', statusCode: 499 } }])
  t.equal(lines.filter(({ level }) => level > 30).length, 0)
})

async function suite (
  t: Test, timeout: number, tasks: TasksOptions = {}
): Promise<{ app: FastifyInstance, lines: LogLine[] }> {
  const { lines, logger } = logLines()
  const app = Fastify({ logger }) as unknown as FastifyInstance
  t.teardown(async () => { await app.close() })
  await app.register(concurrency, { tasks, lifecycle: { timeout, grace: 100 } })
  return { app, lines }
}

t.test('a shutdown waits for a group that nobody awaits', async (t) => {
  const { app } = await suite(t, 600_000)
  const go = deferred()
  app.get('/', async () => {
    void app.tasks.group({ detached: true }).map([1], () => go.promise)
    return 'answered'
  })
  await app.inject('/')
  let isOver = false
  const shutdown = app.lifecycle.shutdown().finally(() => { isOver = true })
  for (let i = 0; i < 20; i++) await turn()
  t.equal(isOver, false)
  go.resolve()
  t.match(await shutdown, { unfinished: [] })
})

t.test('a shutdown aborts, past its deadline, what a group still runs, and names it', async (t) => {
  const { app } = await suite(t, 50)
  const reasons: unknown[] = []
  const listen = async ({ signal }: { signal: AbortSignal }): Promise<void> => {
    signal.addEventListener('abort', () => reasons.push(signal.reason))
    await new Promise(() => {})
  }
  app.get('/detached/:id', async () => {
    void app.tasks.group({ detached: true }).go(listen)
    return 'answered'
  })
  app.get('/stubborn', async () => {
    void app.tasks.group().go(listen)
    return 'answered'
  })
  await app.inject('/detached/1')
  await app.inject('/stubborn')
  const task = app.tasks.submit('task:1', async () => { void app.tasks.group().go(listen) })
  await task.done
  await until(() => reasons.length === 1, 'the request that was answered')
  const { unfinished } = await app.lifecycle.shutdown()
  t.match(unfinished, [
    { kind: 'group', name: 'GET /detached/:id', id: 'req-1', attempt: 1 },
    { kind: 'group', name: 'GET /stubborn', id: 'req-2' },
    { kind: 'group', name: 'task', id: 'task:1' }
  ])
  t.match(reasons, [{ code: 'FC_ERR_REQUEST_ENDED' }, { code: 'FC_ERR_CLOSING' }, { code: 'FC_ERR_CLOSING' }])
})

t.test('functions that ignore their signal are held for closeTimeout, and then no more', async (t) => {
  const { app, lines } = await build(t, { closeTimeout: 200 })
  app.get('/', async () => {
    void app.tasks.group().go(() => new Promise(() => {}))
    return 'answered'
  })
  await app.inject('/')
  await t.rejects(assertIdle(app, { within: 1 }), { message: /group GET \/ \(req-1/ })
  await until(() => lines.some(({ msg, level }) => level === 40 && msg.startsWith('functions of a group ignore')), 'the warning')
  await assertIdle(app, { within: 1 })
})

t.test('the report of a shutdown names functions that were given up on during the shutdown, and none from before', async (t) => {
  const { app, lines } = await suite(t, 600_000, { closeTimeout: 20 })
  const stuck = (): Promise<never> => new Promise(() => {})
  const parent = new AbortController()
  const isGivenUp = (): boolean => lines.some(({ msg }) => msg.startsWith('functions of a group ignore'))
  app.get('/before', async () => { void app.tasks.group().go(stuck) })
  app.get('/during', async () => { void app.tasks.group({ detached: true, signal: parent.signal }).go(stuck) })
  await app.inject('/before')
  await until(isGivenUp, 'the first is given up on')
  await app.inject('/during')
  const shutdown = app.lifecycle.shutdown()
  await turn()
  parent.abort(new Error('stop'))
  t.match(await shutdown, { unfinished: [{ kind: 'group', name: 'GET /during' }] })
})
