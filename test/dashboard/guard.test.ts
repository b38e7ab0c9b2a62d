// Who may use the dashboard. The tests try to get in, as a stranger behind a proxy and as a page in the developer's browser.
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import dashboard from '../../plugins/dashboard/index.ts'
import { whyNotLocal, whyNotOwn, type Visit } from '../../plugins/dashboard/guard.ts'
import concurrency from '../../plugins/index.ts'
import { logLines, rejection, startJob, type TestWorkers } from '../helper.ts'
import { processOf, send, startDashboard } from './helper.ts'

function visit (headers: Record<string, string>, others: Partial<Visit> = {}): Visit {
  const { host = 'localhost:3000', ...rest } = headers
  const all = { host, ...rest }
  return { method: 'GET', httpVersion: '1.1', address: '127.0.0.1', headers: all, rawHeaders: ['Host', host, ...Object.entries(rest).flat()], target: '/dashboard/', ...others }
}

const local = (headers: Record<string, string> = {}, address = '127.0.0.1'): string | undefined => whyNotLocal(visit(headers, { address }))

t.test('only sockets of the same machine pass', async (t) => {
  for (const address of ['127.0.0.1', '127.8.8.8', '::1', '::ffff:127.0.0.1']) t.equal(local({}, address), undefined, address)
  for (const address of ['10.0.0.1', '192.168.1.5', '128.0.0.1', '::ffff:10.0.0.1', '::127.0.0.1', '64:ff9b::127.0.0.1', 'fe80::1', '::', '1.127.0.0', '127.evil.example', '']) t.match(local({}, address), /same machine/, address)
  t.match(whyNotLocal(visit({}, { address: undefined })), /same machine/, 'a Unix socket may have a proxy behind it')
})

t.test('no header of a proxy passes, whatever it says', async (t) => {
  for (const name of ['x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-forwarded', 'forwarded', 'via', 'x-real-ip', 'cf-connecting-ip', 'cf-ray', 'true-client-ip', 'x-client-ip', 'fly-client-ip', 'x-amzn-trace-id', 'x-original-forwarded-for', 'x_forwarded_for', 'x_real_ip']) {
    for (const value of ['127.0.0.1', 'localhost', '']) t.match(local({ [name]: value }), new RegExp(`the header ${name} `))
  }
})

t.test('only hosts of the same machine pass: another name may be an attacker\'s that points here', async (t) => {
  for (const host of ['localhost', 'localhost:3000', 'LOCALHOST:1', '127.0.0.1', '127.0.0.1:8080', '[::1]', '[::1]:3000']) t.equal(local({ host }), undefined, host)
  for (const host of ['', 'evil.example', 'evil.example:3000', 'localhost.evil.example', 'localhost.', 'evil.localhost', '127.0.0.1.evil.example', '127.0.0.1:80@evil.example', '0.0.0.0', '10.0.0.1', '[::2]', 'localhost:80:80', 'localhost/x', ' localhost']) {
    t.match(local({ host }), /host/, host)
  }
})

t.test('of several hosts that a request names, each must be one of the same machine: two fields, a target that is a URL, HTTP/2 with Host', async (t) => {
  for (const rawHeaders of [['Host', 'localhost', 'HOST', 'evil.example'], [':authority', 'evil.example', 'Host', 'localhost'], [':authority', 'localhost', 'Host', 'evil.example'], ['X-Host', 'localhost']]) {
    t.match(whyNotLocal(visit({}, { rawHeaders })), /host/, rawHeaders.join(' '))
    t.match(whyNotOwn(visit({ origin: 'http://localhost' }, { method: 'POST', rawHeaders })), /must come from the page/, rawHeaders.join(' '))
  }
  for (const target of ['http://evil.example/dashboard/', 'HTTPS://evil.example/dashboard/', 'http://localhost@evil.example/dashboard/', 'http://evil.example', 'ws://evil.example/dashboard/']) t.match(whyNotLocal(visit({}, { target })), /host/, target)
  for (const target of ['/dashboard/', '/dashboard/?x=http://evil.example/', 'http://localhost:3000/dashboard/']) t.equal(whyNotLocal(visit({}, { target })), undefined, target)
  t.equal(whyNotLocal(visit({}, { rawHeaders: [':authority', 'localhost:3000'] })), undefined)

  const { port } = await startDashboard(t, { workers: false })
  for (const [target, hosts] of [['/dashboard/', ['localhost', 'evil.example']], ['http://evil.example/dashboard/', ['localhost']]] as const) {
    t.match(await sendRaw(port, `GET ${target} HTTP/1.1\r\n${hosts.map((host) => `Host: ${host}\r\n`).join('')}Connection: close\r\n\r\n`), /^HTTP\/1\.1 403 /, target)
  }
})

t.test('a page of another site gets nothing, and a POST must prove where it comes from', async (t) => {
  const why = (method: string, headers: Record<string, string>): string | undefined => whyNotOwn(visit(headers, { method }))
  const link = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
  for (const headers of [{}, { 'sec-fetch-site': 'same-origin' }, { 'sec-fetch-site': 'none' }, { origin: 'http://localhost:3000' }, link]) t.equal(why('GET', headers), undefined)
  for (const headers of [
    { 'sec-fetch-site': 'cross-site' }, { 'sec-fetch-site': 'same-site' }, { 'sec-fetch-site': 'cross-site', origin: 'http://localhost:3000' }, { origin: 'http://evil.example' }, { origin: 'null' },
    { origin: 'http://localhost:3001' }, { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' }
  ]) t.match(why('GET', headers), /another site/, JSON.stringify(headers))
  for (const headers of [{ 'sec-fetch-site': 'same-origin' }, { origin: 'http://localhost:3000' }, { 'sec-fetch-site': 'same-origin', origin: 'https://ops.example' }]) t.equal(why('POST', headers), undefined)
  for (const headers of [{}, link, { 'sec-fetch-site': 'none' }, { 'sec-fetch-site': 'cross-site' }, { 'sec-fetch-site': 'same-site' }, { origin: 'null' }, { origin: 'http://localhost:3000.evil.example' }, { origin: 'http://localhost' }, { origin: 'localhost:3000' }]) {
    t.match(why('POST', headers), /must come from the page/, JSON.stringify(headers))
  }
})

t.test('over real sockets: nothing is served to a forged request, neither page nor stream nor script', async (t) => {
  const { port } = await startDashboard(t, { workers: false })
  const paths = ['/dashboard', '/dashboard/', '/dashboard/main.js', '/dashboard/uplot.js', '/dashboard/events']
  for (const headers of [{ host: 'evil.example' }, { 'x-forwarded-for': '127.0.0.1' }, { forwarded: 'for=127.0.0.1' }, { origin: 'http://evil.example' }, { 'sec-fetch-site': 'cross-site' }]) {
    for (const path of paths) {
      const { status, body } = await send(port, path, { headers: { Host: `localhost:${port}`, ...headers } })
      t.equal(status, 403, `${path} ${JSON.stringify(headers)}`)
      t.match(JSON.parse(body), { code: 'FC_ERR_DASHBOARD_FORBIDDEN', message: /^The dashboard is closed to this request: / })
    }
  }
  t.equal((await send(port, '/dashboard/')).status, 200)
})

/** The answer to bytes that no HTTP client would send. */
async function sendRaw (port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let answer = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => { answer += chunk }).on('error', () => {})
  socket.write(text)
  await once(socket, 'close')
  return answer
}

t.test('nginx with no more than a proxy_pass is refused, which sends nothing of its client, and this service\'s address as Host', async (t) => {
  const { port } = await startDashboard(t, { workers: false })
  for (const [method, path] of [['GET', '/dashboard/'], ['GET', '/dashboard/events'], ['POST', '/dashboard/cancel?pool=workers&id=1']] as const) {
    const answer = await sendRaw(port, `${method} ${path} HTTP/1.0\r\nHost: 127.0.0.1:${port}\r\nConnection: close\r\nSec-Fetch-Site: same-origin\r\n\r\n`)
    t.match(answer, /^HTTP\/1\.1 403 [^]*HTTP\/1\.0/, path)
  }
})

t.test('no spelling of a path, no other method and no oversized header gets around the guard', async (t) => {
  const { port } = await startDashboard(t, { workers: false })
  const evil = { host: 'evil.example' }
  for (const path of ['//dashboard/', '/dashboard//', '/DASHBOARD/', '/dashboard/%2e%2e/dashboard/', '/x/../dashboard/', '/dashboard/%2Fevents', '/dashboard/events/', '/dashboard/events%00', '/dashboard;/events', '/%64ashboard/', '/dashboard/?/../x', 'http://localhost/dashboard/', '/dashboard/page/main.js', '/dashboard/..%2f..%2fpackage.json', '/dashboard/main.js/..']) {
    const { status, body } = await send(port, path, { headers: evil })
    t.ok(status === 403 || status === 404 || status === 400, `${path}: ${status}`)
    t.notMatch(body, /<html|event:|import /, path)
  }
  for (const method of ['HEAD', 'OPTIONS', 'PUT', 'DELETE', 'PATCH', 'TRACE', 'POST']) {
    for (const path of ['/dashboard/', '/dashboard/events', '/dashboard/cancel']) t.ok((await send(port, path, { method, headers: evil })).status >= 400, `${method} ${path}`)
  }
  t.match(await sendRaw(port, `GET /dashboard/ HTTP/1.1\r\nHost: localhost\r\nX-Pad: ${'x'.repeat(20_000)}\r\n\r\n`), /^HTTP\/1\.1 431 /)
  t.match(await sendRaw(port, 'GET /dashboard/ HTTP/1.1\r\nHost: evil.example\r\nHost: localhost\r\nConnection: close\r\n\r\n'), /^HTTP\/1\.1 4\d\d /, 'two hosts')
  t.equal((await send(port, '/dashboard/')).status, 200, 'and the service goes on')
})

t.test('a CORS plugin that reflects every origin opens nothing', async (t) => {
  const { default: cors } = await import('@fastify/cors')
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cors, { origin: true, credentials: true })
  await app.register(concurrency, { dashboard: {} })
  t.equal((await app.inject({ url: '/dashboard/', headers: { origin: 'http://evil.example' } })).statusCode, 403)
  t.equal((await app.inject({ method: 'POST', url: '/dashboard/cancel?pool=workers&id=1', headers: { origin: 'http://evil.example' } })).statusCode, 403)
})

t.test('a forged POST cancels nothing', async (t) => {
  const { app, port } = await startDashboard(t)
  const workers = app.getDecorator<TestWorkers>('workers')
  const { ended } = await startJob(workers, 'spin', { ms: 60_000 })
  const [job] = workers.running()
  const path = `/dashboard/cancel?pool=workers&id=${job?.id}&process=${await processOf(t, port)}`
  const own = `localhost:${port}`
  for (const headers of [{ Host: own }, { Host: own, origin: 'http://evil.example' }, { Host: own, origin: `http://${own}`, 'sec-fetch-site': 'cross-site' }, { host: 'evil.example', origin: 'http://evil.example' }, { Host: own, origin: `http://${own}`, 'x-forwarded-for': '127.0.0.1' }]) {
    t.equal((await send(port, path, { method: 'POST', headers })).status, 403, JSON.stringify(headers))
  }
  t.equal((await send(port, path, { method: 'GET', headers: { Host: own } })).status, 404, 'a GET cancels nothing')
  t.match(workers.running(), [{ aborted: false }])
  t.equal((await send(port, path, { method: 'POST', headers: { Host: own, origin: `http://${own}` } })).status, 200)
  t.match(await rejection(ended), { code: 'FC_ERR_JOB_ABORTED' })
})

t.test('a Unix socket is refused', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(concurrency, { dashboard: {} })
  const socketPath = `${t.testdir()}/socket`
  await app.listen({ path: socketPath })
  const status = await new Promise((resolve, reject) => { httpRequest({ socketPath, path: '/dashboard/', headers: { host: 'localhost' } }, (response) => resolve(response.resume().statusCode)).on('error', reject).end() })
  t.equal(status, 403)
})

t.test('another address of the machine is refused, whatever trustProxy says', async (t) => {
  const app = Fastify({ trustProxy: true })
  t.teardown(() => app.close())
  await app.register(concurrency, { dashboard: {} })
  const from = (remoteAddress: string, headers: Record<string, string> = {}): Promise<number> => app.inject({ url: '/dashboard/', remoteAddress, headers }).then(({ statusCode }) => statusCode)
  t.equal(await from('10.0.0.1'), 403)
  t.equal(await from('10.0.0.1', { 'x-forwarded-for': '127.0.0.1' }), 403)
  t.equal(await from('127.0.0.1'), 200)
})

async function inProduction<T> (work: () => Promise<T>): Promise<T> {
  const before = process.env['NODE_ENV']
  process.env['NODE_ENV'] = 'production'
  try {
    return await work()
  } finally {
    if (before === undefined) delete process.env['NODE_ENV']
    else process.env['NODE_ENV'] = before
  }
}

t.test('in production it is off, and says so, unless authorize is given', async (t) => {
  const { lines, logger } = logLines()
  const app = Fastify({ logger }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await inProduction(async () => app.register(concurrency, { dashboard: {} }))
  for (const url of ['/dashboard', '/dashboard/', '/dashboard/events']) t.equal((await app.inject(url)).statusCode, 404)
  t.match(lines.filter(({ level }) => level === 40), [{ msg: /^dashboard: off, because NODE_ENV is production/ }])
  const open = Fastify()
  t.teardown(() => open.close())
  await inProduction(async () => open.register(concurrency, { dashboard: { authorize: () => true } }))
  t.equal((await open.inject('/dashboard/')).statusCode, 200)
})

t.test('authorize decides: true passes, nothing else does, and its error is the answer', async (t) => {
  let answer: unknown = true
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(concurrency, {
    dashboard: {
      authorize: async (_request, reply) => {
        if (answer instanceof Error) {
          reply.header('www-authenticate', 'Basic')
          throw answer
        }
        return answer as boolean
      }
    }
  })
  const statusOf = async (headers: Record<string, string> = {}): Promise<number> => (await app.inject({ url: '/dashboard/', remoteAddress: '10.0.0.1', headers: { host: 'ops.example', 'x-forwarded-for': '10.1.1.1', ...headers } })).statusCode
  t.equal(await statusOf(), 200, 'from anywhere')
  for (answer of [false, undefined, null, 1, 'yes', {}]) t.equal(await statusOf(), 403, String(answer))
  answer = Object.assign(new Error('log in'), { statusCode: 401 })
  t.equal(await statusOf(), 401)
  t.equal((await app.inject('/dashboard/events')).headers['www-authenticate'], 'Basic')
  answer = new TypeError('broken')
  t.equal(await statusOf(), 500)
  answer = true
  t.equal(await statusOf({ 'sec-fetch-site': 'cross-site' }), 403, 'a page of another site is refused all the same')
})

t.test('the page can\'t be framed, and runs nothing but its own files', async (t) => {
  const { port } = await startDashboard(t, { workers: false })
  const { headers, body } = await send(port, '/dashboard/')
  const policy = String(headers['content-security-policy'])
  t.match(policy, /default-src 'none'; script-src 'self'; style-src 'self';/)
  t.notMatch(policy, /unsafe|http|\*/)
  t.match(policy, /frame-ancestors 'none'/)
  t.equal(headers['x-frame-options'], 'DENY')
  t.notMatch(body, /<script(?![^>]* src=)|style=|https?:|\son\w+=/, 'no inline code, and nothing from elsewhere')
  for (const [, path] of body.matchAll(/(?:src|href)="([^"#:]+)"/g)) t.equal((await send(port, `/dashboard/${path}`)).status, 200, path ?? '')
  const redirect = await send(port, '/dashboard')
  t.match([redirect.status, redirect.headers.location], [302, './dashboard/'], 'relative: a proxy may have a path of its own before ours')
})

t.test('a plugin that sets headers of its own for all routes doesn\'t loosen those of the page', async (t) => {
  const { default: helmet } = await import('@fastify/helmet')
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(helmet, { contentSecurityPolicy: { directives: { scriptSrc: ["'unsafe-inline'"] } }, frameguard: { action: 'sameorigin' } })
  await app.register(concurrency, { dashboard: {} })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { headers } = await send((app.server.address() as AddressInfo).port, '/dashboard/')
  t.match(headers['content-security-policy'], /^default-src 'none'/)
  t.notMatch(headers['content-security-policy'], /unsafe/)
  t.equal(headers['x-frame-options'], 'DENY')
})

t.test('wrong options are refused by name', async (t) => {
  for (const [options, message] of [
    [{ path: 'dashboard' }, 'Option "dashboard.path"'], [{ path: '/' }, 'Option "dashboard.path"'], [{ path: '/a/' }, 'Option "dashboard.path"'], [{ path: '/:id' }, 'Option "dashboard.path"'], [{ path: '/../x' }, 'Option "dashboard.path"'], [{ path: '/x/.' }, 'Option "dashboard.path"'],
    [{ authorize: true }, 'Option "dashboard.authorize": expected a function'], [{ autorize: () => true }, 'Option "dashboard.autorize"']
  ] as const) {
    const app = Fastify()
    const error = await rejection(Promise.resolve(app.register(concurrency, { dashboard: options as never })))
    t.match(error, { code: 'FC_ERR_OPTION_INVALID' })
    t.match(error.message, message)
  }
  const without = Fastify()
  t.match(await rejection(Promise.resolve(without.register(concurrency, { metrics: false, dashboard: {} }))), { code: 'FC_ERR_OPTION_INVALID', message: /concurrency\.metrics/ })
  const twice = Fastify()
  await twice.register(concurrency, { dashboard: {} })
  t.match(await rejection(Promise.resolve(twice.register(dashboard, { path: '/other' }))), { code: 'FC_ERR_OPTION_INVALID', message: /dashboard.*one registration/ })
  for (const part of ['metrics', 'tracing']) {
    const app = Fastify()
    t.match(await rejection(Promise.resolve(app.register(concurrency, { [part]: true }))), { message: `Option "concurrency.${part}": expected an object of options, such as {}, or false, received true` })
  }
  const alone = Fastify()
  alone.register(dashboard)
  t.match(await rejection(Promise.resolve(alone.ready())), { code: 'FC_ERR_PART_MISSING', message: /app\.metrics/ })
})

t.test('other routes of the application keep their headers and hooks', async (t) => {
  const { port } = await startDashboard(t, { workers: false }, (app) => { app.get('/', async () => 'mine') })
  const { status, headers } = await send(port, '/', { headers: { host: 'example.com', 'x-forwarded-for': '10.0.0.1' } })
  t.equal(status, 200)
  t.equal(headers['content-security-policy'], undefined)
})

t.test('`dashboard: true` is `{}`, and a line at info says where the page is', async (t) => {
  const { lines, logger } = logLines()
  const { port } = await startDashboard(t, { dashboard: true }, () => {}, { logger })
  t.match(lines.filter(({ msg }) => msg.startsWith('dashboard:')), [{ level: 30, msg: `dashboard: at http://127.0.0.1:${port}/dashboard` }])
  t.equal((await send(port, '/dashboard/')).status, 200)
})
