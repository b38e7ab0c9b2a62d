// With `authorize`: hosts, refused attempts, limits, and the line of a cancel.
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { AttemptsByAddress } from '../../plugins/dashboard/attempts.ts'
import concurrency, { type ConcurrencyOptions } from '../../plugins/index.ts'
import { deferred, logLines, rejection, startJob, type TestWorkers } from '../helper.ts'
import { processOf, send, startDashboard } from './helper.ts'

const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`
const right = { authorization: basic('ann:right') }

async function build (t: Test, dashboard: Exclude<ConcurrencyOptions['dashboard'], boolean | undefined>, options: ConcurrencyOptions = {}): Promise<FastifyInstance> {
  const app = Fastify() as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(concurrency, { dashboard: { authorize: ({ headers }) => headers.authorization === right.authorization, ...dashboard }, ...options })
  return app
}

t.test('hosts: a page whose name an attacker points here is refused, though its address would pass', async (t) => {
  const app = await build(t, { authorize: ({ ip }) => ip === '127.0.0.1', hosts: ['Ops.example', 'localhost:3000'] })
  const statusOf = async (host: string): Promise<number> => (await app.inject({ url: '/dashboard/', headers: { host } })).statusCode
  for (const host of ['ops.example', 'OPS.EXAMPLE:8443', 'localhost:3000']) t.equal(await statusOf(host), 200, host)
  for (const host of ['evil.example', 'localhost', 'localhost:3001', 'ops.example.evil.example', '', 'ops.example:80:80']) t.equal(await statusOf(host), 403, host)
})

t.test('options that can\'t protect are refused at boot', async (t) => {
  for (const dashboard of [{ hosts: ['a'] }, { authorize: () => true, hosts: 'a' }, { authorize: () => true, hosts: [''] }, { authorize: () => true, policies: 'a' }, { authorize: () => true, policies: [1] }]) {
    const app = Fastify() as unknown as FastifyInstance
    t.match(await rejection((async () => app.register(concurrency, { dashboard: dashboard as never }))()), { code: 'FC_ERR_OPTION_INVALID' })
    await app.close().catch(() => {})
  }
  const app = Fastify() as unknown as FastifyInstance
  t.match(await rejection((async () => app.register(concurrency, { dashboard: { authorize: () => true, policies: ['ops'] } }))()), { code: 'FC_ERR_PART_MISSING' })
  await app.close().catch(() => {})
})

t.test('wrong passwords are answered 20 times a minute for each address; who is right before that is never counted', async (t) => {
  const app = await build(t, {})
  const ask = async (headers: Record<string, string>, remoteAddress = '10.0.0.1'): Promise<number> => (await app.inject({ url: '/dashboard/', headers, remoteAddress })).statusCode
  for (let n = 0; n < 100; n++) t.equal(await ask(right), 200)
  const answers = await Promise.all(Array.from({ length: 60 }, async (_, n) => ask({ authorization: basic(`ann:wrong${n}`) })))
  t.equal(answers.filter((status) => status === 403).length, 20)
  t.equal(answers.filter((status) => status === 429).length, 40)
  const refused = await app.inject({ url: '/dashboard/', headers: right, remoteAddress: '10.0.0.1' })
  t.match([refused.statusCode, refused.json()], [429, { code: 'FC_ERR_LIMITED' }], 'also the right one, which would otherwise be told from the wrong ones')
  t.ok(Number(refused.headers['retry-after']) <= 60)
  t.equal(await ask(right, '10.0.0.2'), 200, 'another address is free')
})

t.test('what authorize throws is the answer if it is an error, and otherwise a refusal', async (t) => {
  for (const thrown of [null, undefined, false, 0, '', 'secret', Symbol('secret')]) {
    for (const authorize of [() => { throw thrown }, async () => { throw thrown }]) {
      const answer = await (await build(t, { authorize })).inject('/dashboard/')
      t.match([answer.statusCode, answer.json()], [403, { code: 'FC_ERR_DASHBOARD_FORBIDDEN' }], String(thrown))
      t.notMatch(answer.body, /secret/)
    }
  }
  const error = Object.assign(new Error('log in'), { statusCode: 401 })
  t.match((await (await build(t, { authorize: () => { throw error } })).inject('/dashboard/')).json(), { statusCode: 401, message: 'log in' })
})

t.test('attempts at the same time are bounded while authorize has not answered', async (t) => {
  const gate = deferred()
  let asked = 0
  const app = await build(t, {
    authorize: async () => {
      asked++
      await gate.promise
      return false
    }
  })
  const answers = Array.from({ length: 60 }, async () => (await app.inject('/dashboard/')).statusCode)
  t.equal(await Promise.race(answers), 429)
  gate.resolve()
  await Promise.all(answers)
  t.equal(asked, 20)
})

t.test('addresses that are remembered are bounded; a window ends', (t) => {
  const limited: string[] = []
  const attempts = new AttemptsByAddress((address) => limited.push(address))
  for (let n = 0; n < 20; n++) attempts.begin('a', 0)
  t.strictSame(limited, ['a'])
  t.throws(() => attempts.begin('a', 59_000), { code: 'FC_ERR_LIMITED', retryAfter: 1 })
  t.equal(attempts.begin('a', 60_000).count, 1)
  for (let n = 0; n < 5_000; n++) attempts.begin(`n${n}`, 60_000)
  t.equal(attempts.begin('a', 60_000).count, 1, 'the oldest was forgotten')
  const begun = attempts.begin('b', 0)
  attempts.passed('b', begun)
  t.not(attempts.begin('b', 1), begun)
  t.end()
})

t.test('a policy of the limiter applies to the dashboard, if it is named', async (t) => {
  const limiter: ConcurrencyOptions['limiter'] = { policies: { ops: { rate: 0.001, burst: 2, routes: 'named' }, all: { rate: 0.001, burst: 1 } } }
  const statuses = async (app: FastifyInstance): Promise<number[]> => {
    const all: number[] = []
    for (let n = 0; n < 3; n++) all.push((await app.inject({ url: '/dashboard/', headers: right })).statusCode)
    return all
  }
  t.strictSame(await statuses(await build(t, {}, { limiter })), [200, 200, 200])
  const named: ConcurrencyOptions['limiter'] = { policies: { ops: { rate: 0.001, burst: 2, routes: 'named' } } }
  t.strictSame(await statuses(await build(t, { policies: ['ops'] }, { limiter: named })), [200, 200, 429])
})

t.test('a job that an operator cancels: its line names job and operator, and its client, who has not left, gets no 499', async (t) => {
  const { lines, logger } = logLines()
  const { app, port } = await startDashboard(t, { dashboard: { authorize: () => true } }, (app) => {
    app.get('/', async () => app.getDecorator<TestWorkers>('workers').run('spin', { ms: 60_000 }))
  }, { logger })
  const workers = app.getDecorator<TestWorkers>('workers')
  const process = await processOf(t, port)
  for (const [headers, operator] of [[{}, '127.0.0.1'], [{ authorization: basic('ann:secret') }, 'ann']] as const) {
    const { ended } = await startJob(workers, 'spin', { ms: 60_000 })
    const [job] = workers.running()
    const cancel = async (): Promise<number> => (await send(port, `/dashboard/cancel?pool=workers&id=${job?.id}&process=${process}`, { method: 'POST', headers: { Host: `localhost:${port}`, 'sec-fetch-site': 'same-origin', ...headers } })).status
    t.strictSame(await Promise.all([cancel(), cancel()]), [200, 404], 'two clicks cancel it once')
    t.match(await rejection(ended), { code: 'FC_ERR_JOB_ABORTED', statusCode: 503, cause: { message: /operator/ } })
    const said = lines.filter(({ msg }) => msg === 'a job was cancelled on the dashboard')
    t.match(said.splice(0), [{ level: 40, pool: 'workers', jobId: job?.id, job: 'spin', operator }])
    lines.splice(0)
    t.notMatch(JSON.stringify(lines), /secret/)
  }
})

t.test('routes of the suite are not part of the application\'s API', async (t) => {
  const shown: string[] = []
  const app = Fastify() as unknown as FastifyInstance
  t.teardown(() => app.close())
  app.addHook('onRoute', ({ url, schema }) => { if ((schema as { hide?: boolean } | undefined)?.hide !== true) shown.push(url) })
  await app.register(concurrency, { dashboard: {}, metrics: { path: '/metrics' }, lifecycle: { readyPath: '/ready', livePath: '/live' } })
  await app.ready()
  t.strictSame(shown, [])
})
