// Policies that charge by the reply: failed logins, in memory and on Redis.
import fc from 'fast-check'
import Fastify, { type FastifyInstance } from 'fastify'
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { PassThrough } from 'node:stream'
import t, { type Test } from 'tap'
import limiter, { definePolicies, type LimiterOptions } from '../../plugins/limiter/index.ts'
import { deferred, until, type Deferred } from '../helper.ts'
import { build, NEVER } from './helper.ts'
import { noRedis, startRedis } from './redis.ts'

type Handler = () => unknown

const failures = {
  rate: NEVER, burst: 3, key: { header: 'x-user' }, charge: (_request: unknown, { statusCode }: { statusCode: number }) => statusCode === 401 ? 1 : 0
} as const
const policies = definePolicies({ failures })
const wrong = (): never => { throw Object.assign(new Error('wrong'), { statusCode: 401 }) }
const right = (): string => 'welcome'

/** An app whose handler does what `subject.handler` says. */
async function start (t: Test, options: LimiterOptions = { policies }) {
  const subject = { handler: right as Handler }
  const app: FastifyInstance = Fastify()
  t.teardown(() => app.close())
  await app.register(limiter, options)
  app.get('/', async (_request, reply) => {
    const payload = await subject.handler()
    if (payload === 'hijacked') reply.hijack().raw.end('raw')
    return payload
  })
  await app.ready()
  const attempt = async (user = 'ada') => app.inject({ url: '/', headers: { 'x-user': user } })
  const attempts = async (count: number, handler: Handler): Promise<number[]> => {
    subject.handler = handler
    const statuses: number[] = []
    for (let i = 0; i < count; i++) statuses.push((await attempt()).statusCode)
    return statuses
  }
  const tokens = async () => Math.round((await app.limiter.peek('failures', 'ada')).tokens)
  return { app, subject, attempt, attempts, tokens }
}

const redisMissing = await noRedis()
const skipped = redisMissing === false ? {} : { skip: redisMissing }
const stores: Array<[name: string, redis: boolean]> = [['in memory', false], ['on Redis', true]]

for (const [where, onRedis] of stores) {
  const options = onRedis ? skipped : {}
  const redisOf = async (t: Test) => onRedis ? { redis: (await startRedis(t)).client() } : {}

  t.test(`only failures are charged, one after the other; ${where}`, options, async (t) => {
    const { attempts, tokens } = await start(t, { policies, ...await redisOf(t) })
    t.same(await attempts(20, right), Array(20).fill(200))
    t.equal(await tokens(), 3)
    t.same(await attempts(2, wrong), [401, 401])
    t.same(await attempts(5, right), Array(5).fill(200), 'one token is left, and comes back each time')
    t.same(await attempts(2, wrong), [401, 429])
    t.same(await attempts(1, right), [429], 'the right password, too')
  })

  t.test(`of guesses in flight together no more than the burst can fail; ${where}`, options, async (t) => {
    const { subject, attempt, attempts, tokens } = await start(t, { policies, ...await redisOf(t) })
    const answer = deferred()
    let running = 0
    subject.handler = async () => { running++; await answer.promise; return wrong() }
    const guesses = Array.from({ length: 50 }, async () => (await attempt()).statusCode)
    await until(() => running === 3, 'the burst is in the handler')
    const other = attempt('bob')
    await until(() => running === 4, 'another user has a bucket of its own')
    answer.resolve()
    const statuses = await Promise.all(guesses)
    t.equal((await other).statusCode, 401)
    t.same([statuses.filter((status) => status === 401).length, statuses.filter((status) => status === 429).length], [3, 47])
    t.same(await attempts(1, right), [429])
    t.equal(await tokens(), 0)
  })

  t.test(`who goes on after the failures is locked out, and not for successes; ${where}`, options, async (t) => {
    const locking = { failures: { ...failures, rate: 0.1, lockout: { after: 2, duration: 60_000 } } } as const
    const { attempts, app } = await start(t, { policies: locking, ...await redisOf(t) })
    await attempts(10, right)
    t.same(await attempts(5, wrong), [401, 401, 401, 429, 429])
    const { wait } = await app.limiter.peek('failures', 'ada')
    t.ok(wait > 50_000 && wait <= 60_000)
  })
}

t.test('a client that leaves before its reply pays in full', async (t) => {
  const { app, subject, attempts, tokens } = await start(t)
  await app.listen({ port: 0 })
  const [entered, answer, answered] = [deferred(), deferred(), deferred()]
  app.server.on('request', (_request, response) => response.on('close', answered.resolve))
  subject.handler = async () => { entered.resolve(); await answer.promise; setImmediate(answered.resolve); return right() }
  const socket = connect((app.server.address() as AddressInfo).port)
  socket.write('GET / HTTP/1.1\r\nHost: a\r\nX-User: ada\r\n\r\n')
  await entered.promise
  socket.destroy()
  await answered.promise
  answer.resolve()
  await new Promise((resolve) => setImmediate(resolve))
  t.same([await attempts(3, right), await tokens()], [[200, 200, 200], 2])
})

t.test('a reply whose stream has not ended is known', async (t) => {
  const { app, subject, tokens } = await start(t)
  await app.listen({ port: 0 })
  const stream = new PassThrough()
  subject.handler = () => stream
  const { port } = app.server.address() as AddressInfo
  stream.write('a')
  const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { 'x-user': 'ada' } })
  t.equal(await tokens(), 3)
  stream.end('b')
  t.equal(await response.text(), 'ab')
  t.equal(await tokens(), 3, 'nothing is given back twice')
})

t.test('a response that the handler writes itself is no reply', async (t) => {
  const { attempts, tokens } = await start(t)
  t.same(await attempts(1, () => 'hijacked'), [200])
  t.equal(await tokens(), 2)
})

t.test('a wrong or failing charge makes the reply an error, and the request pays in full', async (t) => {
  const charges = [NaN, -1, 2, 0.5, '0', undefined, async () => 7, () => { throw new Error('mine') }, async () => { throw undefined }] // eslint-disable-line no-throw-literal -- a charge may throw anything
  for (const value of charges) {
    const charge = (typeof value === 'function' ? value : () => value) as () => number
    const { attempts, tokens } = await start(t, { policies: { failures: { ...failures, charge } } })
    t.same([await attempts(1, right), await tokens()], [[500], 2], String(value))
  }
  await t.rejects(build(t, { policies: { failures: { ...failures, charge: 1 as never } } }), { code: 'FC_ERR_OPTION_INVALID' })
})

t.test('a part of the cost may be kept, and each policy decides for itself', async (t) => {
  const five = { rate: NEVER, burst: 5 }
  const { app, statuses } = await build(t, {
    policies: { a: { ...five, charge: async () => 1 }, b: five, c: { ...five, stage: 'preHandler', charge: () => 0 }, hidden: { ...five, expose: false, charge: () => 0 } }
  }, (app) => { app.get('/', { config: { limiter: { cost: 3 } } }, async () => 'ok') })
  const { headers } = await app.inject('/')
  t.match(headers['ratelimit'], /^"a";r=4;t=\d+, "b";r=2;t=\d+, "c";r=5;t=0$/, 'the fields say what is left after that')
  t.same(await Promise.all(['a', 'b', 'c', 'hidden'].map(async (name) => Math.round((await app.limiter.peek(name)).tokens))), [4, 2, 5, 5])
  t.same(await statuses('/'), [429])
  t.equal(Math.round((await app.limiter.peek('a')).tokens), 4, 'a refused request pays nothing')
})

t.test('a reply that fails in a hook after ours, and is sent again as an error, gives back once', async (t) => {
  let fails = 0
  const { app, statuses } = await build(t, { policies: { p: { rate: NEVER, burst: 5, charge: () => 0 } } }, (app) => {
    app.addHook('onSend', async (_request, reply) => { if (reply.statusCode === 200 && fails++ === 0) throw new Error('mine') })
    app.get('/', async () => 'ok')
  })
  await app.limiter.allow('p', undefined, 3)
  t.same(await statuses('/'), [500])
  t.equal(Math.round((await app.limiter.peek('p')).tokens), 2)
})

t.test('what a later stage refuses is a reply like any other', async (t) => {
  const { app, statuses } = await build(t, { policies: { failures: { ...failures, key: 'address' }, user: { rate: NEVER, burst: 1, stage: 'preHandler' } } })
  t.same(await statuses('/', '/', '/', '/none'), [200, 429, 429, 404])
  t.equal(Math.round((await app.limiter.peek('failures', '127.0.0.1')).tokens), 3)
})

t.test('with a lockout, Redis away is 503, unless the policy says otherwise', skipped, async (t) => {
  const lockout = { after: 1, duration: 1_000 }
  for (const [policy, status] of [[{ ...failures, lockout }, 503], [{ ...failures, lockout, onStoreError: 'local' }, 200], [failures, 200]] as const) {
    const server = await startRedis(t)
    const client = server.client({ enableOfflineQueue: false })
    await once(client, 'ready')
    const { subject, attempt, attempts } = await start(t, { policies: { failures: policy }, redis: client })
    const [entered, answer] = [deferred(), deferred()]
    subject.handler = async () => { entered.resolve(); await answer.promise; return right() }
    const early = attempt()
    await entered.promise
    await server.kill()
    await until(() => client.status !== 'ready', 'the client knows')
    answer.resolve()
    t.equal((await early).statusCode, 200, 'tokens that can\'t be given back fail no reply')
    t.same(await attempts(1, right), [status])
  }
})

t.test('whatever overlaps, leaves or fails: what is paid stays within burst + rate·t, and the rest comes back', async (t) => {
  const step = fc.oneof(
    fc.record({ op: fc.constant('begin' as const), cost: fc.integer({ min: 1, max: 3 }) }),
    fc.record({ op: fc.constant('end' as const), which: fc.nat(), paid: fc.constantFrom<number | 'all' | 'none'>(0, 1, 'all', 'none') }),
    fc.record({ op: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 3_000 }) })
  )
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.integer({ min: 3, max: 6 }), async (steps, burst) => {
    const rate = 1
    let entered: Deferred<number> | undefined
    const { app, clock } = await build(t, { policies: { p: { rate, burst, charge: (request) => Number(request.headers['x-paid']) } } }, (app) => {
      app.get('/', { config: { limiter: { cost: (request) => Number(request.headers['x-cost']) } } }, async (request, reply) => {
        const answer = entered = deferred<number>()
        const paid = await answer.promise
        request.headers['x-paid'] = String(paid)
        if (paid < 0) reply.hijack().raw.end()
        return ''
      })
    })
    const open: Array<{ cost: number, at: number, answer: Deferred<number>, response: PromiseLike<unknown> }> = []
    const kept: Array<{ at: number, tokens: number }> = []
    const end = async ({ cost, at, answer, response }: typeof open[number], paid: number): Promise<void> => {
      answer.resolve(paid)
      await response
      kept.push({ at, tokens: paid < 0 ? cost : Math.min(paid, cost) })
    }
    for (const step of steps) {
      if (step.op === 'pass') clock.time += step.ms
      if (step.op === 'begin') {
        entered = undefined
        let isRefused = false
        const response = app.inject({ url: '/', headers: { 'x-cost': String(step.cost) } }).then(({ statusCode }) => { isRefused = statusCode === 429 })
        await until(() => isRefused || entered !== undefined, 'it is decided')
        if (entered !== undefined) open.push({ cost: step.cost, at: clock.time, answer: entered, response })
      }
      const [ended] = step.op === 'end' && open.length > 0 ? open.splice(step.which % open.length, 1) : []
      if (step.op === 'end' && ended !== undefined) await end(ended, step.paid === 'all' ? ended.cost : step.paid === 'none' ? -1 : step.paid)
    }
    for (const each of open) await end(each, each.cost)
    for (const from of kept) {
      for (const to of kept) {
        const sum = kept.filter(({ at }) => at >= from.at && at <= to.at).reduce((sum, { tokens }) => sum + tokens, 0)
        if (to.at >= from.at && sum > burst + rate * (to.at - from.at) / 1000 + 1e-6) throw new Error(`${sum} were paid from ${from.at} to ${to.at}`)
      }
    }
    const { tokens } = await app.limiter.peek('p')
    const spent = kept.reduce((sum, { tokens }) => sum + tokens, 0)
    if (tokens > burst || tokens < burst - spent - 1e-6) throw new Error(`${tokens} are left of ${burst} after ${spent}`)
    await app.close()
  }), { numRuns: 100 })
})
