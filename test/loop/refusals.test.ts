// Which requests are refused, what their clients see, and what the operator hears.
import Fastify from 'fastify'
import t from 'tap'
import suite from '../../plugins/index.ts'
import { listen } from '../../plugins/channel-messages.ts'
import loop from '../../plugins/loop/index.ts'
import { logLines, rejection, until } from '../helper.ts'
import { answer, connections, request, spin, startLoop, times, together } from './helper.ts'

t.test('a request that would be served last is refused when too many are held: 503 with Retry-After, answered in the hook', async (t) => {
  const { lines, logger } = logLines()
  const { app, port } = await startLoop(t, { maxHeld: 3 }, (app) => { app.get('/work', () => { spin(6); return 'done' }) }, { logger })
  const messages: unknown[] = []
  const unlisten = listen(app.server, 'fastify-concurrency:loop:refused', (message) => messages.push(message))
  t.teardown(unlisten)
  const answers = await together(app, port, times(10, '/work'))
  const refused = answers.filter(({ status }) => status === 503)
  t.ok(refused.length >= 5)
  for (const { headers, body } of refused) {
    t.match(headers, /retry-after: \d+/)
    t.match(headers, 'cache-control: no-store')
    t.match(JSON.parse(body), { statusCode: 503, code: 'FC_ERR_LOOP_OVERLOADED', error: 'Service Unavailable', message: /^The service is overloaded, try again in \d+ s$/ })
  }
  t.equal(app.loop.stats().refused.count, refused.length)
  t.equal(messages.length, refused.length)
  t.match(messages[0], { reason: 'count', limit: 3, held: 3, retryAfter: 1, method: 'GET', route: '/work', requestId: /req-/, server: app.server })
  await app.close()
  t.match(lines.filter(({ code }) => code === 'FC_ERR_LOOP_OVERLOADED'), [{ level: 40, reason: 'count', msg: 'requests were refused' }])
  t.notOk(lines.some(({ level }) => level === 50), 'a refusal is no error of the service')
})

t.test('a full gate refuses the client that asks for most, and not the one that asks for little', async (t) => {
  const { app, port } = await startLoop(t, { maxHeld: 5, key: ({ headers }) => String(headers['x-client']) }, (app) => {
    app.get('/work', () => { spin(6); return 'done' })
  })
  const sockets = await connections(app, port, 12)
  const answers = sockets.map(answer)
  for (const [index, socket] of sockets.entries()) socket.write(request('/work', `X-Client: ${index === 11 ? 'light' : 'heavy'}\r\n`))
  const statuses = (await Promise.all(answers)).map(({ status }) => status)
  t.equal(statuses[11], 200)
  t.ok(statuses.includes(503))
})

t.test('clients share the loop by key, and within a class of priority', async (t) => {
  const order: string[] = []
  const { app, port } = await startLoop(t, { key: ({ headers }) => String(headers['x-client']) }, (app) => {
    const handler = ({ headers }: { headers: Record<string, unknown> }): string => { order.push(String(headers['x-client'])); spin(6); return '' }
    app.get('/work', handler)
    app.get('/own', { config: { loop: { key: () => 'own' } } }, handler)
    app.get('/urgent', { config: { loop: { priority: 'high' } } }, handler)
  })
  const sockets = await connections(app, port, 12)
  const answers = sockets.map(answer)
  const paths = [...times(8, '/work'), '/work', '/work', '/own', '/urgent']
  const clients = [...times(8, 'heavy'), 'light', 'light', 'owner', 'urgent']
  for (const [index, socket] of sockets.entries()) socket.write(request(paths[index]!, `X-Client: ${clients[index]}\r\n`))
  await Promise.all(answers)
  for (const client of ['light', 'owner', 'urgent']) {
    // Its first one: on a busy machine its run may have been long, after which others go first.
    t.ok(order.indexOf(client) <= 7, `${client} before the last of heavy: ${order.join(' ')}`)
  }
})

t.test('a key that throws or is no string counts as the address, and the log says so once', async (t) => {
  const { lines, logger } = logLines()
  let calls = 0
  const { app, port } = await startLoop(t, {
    key () {
      calls++
      if (calls % 2 === 0) throw new Error('no tenant')
      return undefined as unknown as string
    }
  }, (app) => { app.get('/work', () => { spin(6); return '' }) }, { logger })
  const answers = await together(app, port, times(6, '/work'))
  t.strictSame(answers.map(({ status }) => status), times(6, 200))
  t.ok(calls > 1)
  t.equal(lines.filter(({ msg }) => /key function gave no string/.test(msg)).length, 1)
})

t.test('an asynchronous key that rejects counts as the address, and does not end the process', async (t) => {
  const rejected: unknown[] = []
  const onRejected = (reason: unknown): void => { rejected.push(reason) }
  process.on('unhandledRejection', onRejected)
  t.teardown(() => process.off('unhandledRejection', onRejected))
  const key = async (): Promise<string> => { throw new Error('no tenant') }
  const { app, port } = await startLoop(t, { key: key as never }, (app) => { app.get('/work', () => { spin(6); return '' }) })
  t.strictSame((await together(app, port, times(5, '/work'))).map(({ status }) => status), times(5, 200))
  t.ok(app.loop.stats().started > 0)
  await new Promise((resolve) => setImmediate(resolve))
  t.strictSame(rejected, [])
})

t.test('the key is not read for a request that passes', async (t) => {
  let reads = 0
  let before = 0
  const key = (): string => `client ${++reads}`
  const { app } = await startLoop(t, { key }, (app) => { app.get('/', () => '') })
  // On a slow machine, the first requests may find the loop busy with the boot, and are held.
  while (app.loop.stats().passed === 0) {
    before = reads
    t.equal((await app.inject('/')).statusCode, 200)
  }
  t.equal(reads, before)
})

t.test('probes, metrics and the dashboard are never held or refused', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(suite, { loop: { maxHeld: 1 }, lifecycle: { livePath: '/live', readyPath: '/ready' }, metrics: { path: '/metrics' }, dashboard: {} })
  app.get('/work', () => { spin(6); return '' })
  app.get('/own', { config: { lifecycle: 'always' } }, () => '')
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  const own = ['/live', '/ready', '/metrics', '/dashboard/', '/own']
  const answers = await together(app as never, port, [...times(6, '/work'), ...own])
  // The dashboard refuses the name of the host that these requests give.
  t.strictSame(answers.slice(6).map(({ status }) => status), [200, 200, 200, 403, 200])
  t.ok(app.loop.stats().refused.count > 0)
})

t.test('a stall is a line at warn with its route, at most one a second, and a message on the channel', async (t) => {
  const { lines, logger } = logLines()
  const { app } = await startLoop(t, { slow: 20 }, (app) => {
    app.get('/start', () => { spin(30); return '' })
    app.get('/answer', async () => {
      await new Promise((resolve) => { setTimeout(resolve, 1) })
      spin(30)
      return ''
    })
  }, { logger })
  const messages: Array<{ route?: string, part: string, ms: number, sure: boolean }> = []
  t.teardown(listen(app.server, 'fastify-concurrency:loop:stalled', (message) => messages.push(message as never)))
  for (const path of ['/start', '/start']) await app.inject(path)
  // On a busy machine, the loop may turn so often before the answer that nobody is blamed.
  const answerStall = (): { part: string } | undefined => messages.find(({ route }) => route === 'GET /answer')
  for (let tries = 0; tries < 50 && answerStall() === undefined; tries++) await app.inject('/answer')
  const stalls = lines.filter(({ route }) => route === 'GET /start')
  t.match(stalls, [{ level: 40, msg: 'a handler held the event loop', part: 'start', sure: true }], 'one a second')
  t.ok((stalls[0]!['ms'] as number) >= 30)
  t.match(messages.filter(({ route }) => route === 'GET /start'), [{ part: 'start', sure: true }, { part: 'start', sure: true }])
  t.match(answerStall(), { part: 'answer' })
  const { routes } = app.loop.stats()
  t.match(routes.find(({ route }) => route === 'GET /start'), { count: 2, stalls: 2 })
  t.ok(routes.find(({ route }) => route === 'GET /start')!.longestMs >= 30)
})

t.test('busy time that many turns share is no stall', async (t) => {
  const { app } = await startLoop(t, { slow: 500 }, (app) => { app.get('/', () => '') })
  const messages: unknown[] = []
  t.teardown(listen(app.server, 'fastify-concurrency:loop:stalled', (message) => messages.push(message)))
  await app.inject('/')
  for (let i = 0; i < 300; i++) {
    spin(3)
    await new Promise((resolve) => setImmediate(resolve))
  }
  await app.inject('/')
  t.strictSame(messages, [])
})

t.test('invalid options fail the boot', async (t) => {
  const invalid: Array<[options: object, name: RegExp]> = [
    [{ maxWait: 0 }, /loop\.maxWait/], [{ maxHeld: 0 }, /loop\.maxHeld/], [{ targetWait: 'x' }, /loop\.targetWait/], [{ orderWait: NaN }, /loop\.orderWait/],
    [{ targetWait: 2_000, orderWait: 1_000 }, /loop\.targetWait/], [{ orderWait: 2_000, maxWait: 1_000 }, /loop\.orderWait/], [{ slow: -1 }, /loop\.slow/],
    [{ key: 'ip' }, /loop\.key/], [{ maxQueue: 1 }, /loop\.maxQueue/]
  ]
  for (const [options, name] of invalid) {
    const app = Fastify()
    t.match(await rejection(app.register(loop, options) as unknown as Promise<unknown>), { code: 'FC_ERR_OPTION_INVALID', message: name })
  }
  for (const config of [{ loop: true }, { loop: { priority: 'top' } }, { loop: { key: 1 } }, { loop: { rate: 1 } }]) {
    const app = Fastify()
    await app.register(loop)
    t.throws(() => app.get('/', { config } as object, () => ''), { code: 'FC_ERR_OPTION_INVALID', message: /config\.loop of GET \// })
  }
  const app = Fastify()
  await app.register(loop)
  app.get('/', { config: null } as object, () => '')
  t.match(await rejection(app.register(loop) as unknown as Promise<unknown>), { code: 'FC_ERR_OPTION_INVALID' })
})

t.test('a default gives way to a limit that is set', async () => {
  for (const options of [{ maxWait: 50 }, { targetWait: 5_000 }, { orderWait: 20_000 }]) {
    const app = Fastify()
    await app.register(loop, options)
    await until(() => app.loop.stats().held === 0, 'it works')
    await app.close()
  }
})
