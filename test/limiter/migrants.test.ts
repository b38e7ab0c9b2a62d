// What users of @fastify/rate-limit expect of routes' own limits, of keys, and of their own hooks and error handlers.
import Fastify, { type FastifyRequest } from 'fastify'
import t from 'tap'
import limiter from '../../plugins/limiter/index.ts'
import { LimitedError, LimitUnknownError, LimitWaitersFullError, TaskUnknownError } from '../../plugins/shared/errors.ts'
import { logLines, rejection } from '../helper.ts'
import { build, NEVER } from './helper.ts'

const client = { rate: NEVER, burst: 1, key: 'address' } as const
const own = { max: 3, timeWindow: '1 hour' }

t.test('a route\'s own limit stands in place of the limits for all routes, except those that apply always', async (t) => {
  const routes = (app: Parameters<NonNullable<Parameters<typeof build>[2]>>[0]): void => {
    app.get('/', async () => 'ok')
    app.get('/own', { config: { rateLimit: own } }, async () => 'ok')
    app.get('/off', { config: { rateLimit: false } }, async () => 'ok')
    app.get('/probe', { config: { limiter: false } }, async () => 'ok')
  }
  const { statuses } = await build(t, { policies: { client } }, routes)
  t.same(await statuses('/own', '/own', '/own', '/own', '/', '/', '/off', '/off'), [200, 200, 200, 429, 200, 429, 200, 200])
  const protecting = await build(t, { policies: { client, service: { rate: NEVER, burst: 2, always: true } } }, routes)
  t.same(await protecting.statuses('/own', '/off', '/own', '/off', '/probe'), [200, 200, 429, 429, 200])
})

t.test('config.limiter.without leaves a policy out for a route', async (t) => {
  const policies = { plan: { rate: 1, burst: 1, key: { header: 'x-api-key' } }, service: { rate: 1, burst: 9, always: true } } as const
  const { statuses } = await build(t, { policies }, (app) => {
    app.get('/', async () => 'ok')
    app.get('/login', { config: { limiter: { without: ['plan'] } } }, async () => 'ok')
  })
  t.same(await statuses('/', '/login'), [401, 200])
  for (const name of ['service', 'none']) {
    await t.rejects(build(t, { policies }, (app) => { app.get('/', { config: { limiter: { without: [name] } } }, async () => 'ok') }), { code: 'FC_ERR_OPTION_INVALID' })
  }
})

t.test('app.rateLimit() and app.createRateLimit() refuse what a bucket has no use for', async (t) => {
  await build(t, { policies: { client } }, (app) => {
    for (const options of [{ ban: 3 }, { continueExceeding: true }, { exponentialBackoff: true }]) {
      for (const make of [app.rateLimit, app.createRateLimit] as Array<(options: object) => unknown>) {
        t.throws(() => make({ max: 3, ...options }), { code: 'FC_ERR_OPTION_INVALID', message: /lockout|a refused request takes no tokens/ })
      }
    }
  })
})

t.test('an authentication that an onRoute hook appends runs before the stage preHandler', async (t) => {
  const append = {
    'in a new list': (list: unknown[], auth: unknown) => [...list, auth],
    'by push': (list: unknown[], auth: unknown) => { list.push(auth); return list }
  }
  for (const [way, add] of Object.entries(append)) {
    const { statuses } = await build(t, {
      policies: { user: { rate: NEVER, burst: 1, stage: 'preHandler', key: (request) => (request as unknown as { user?: string }).user } }
    }, (app) => {
      app.decorateRequest('user', null)
      const auth = async (request: FastifyRequest): Promise<void> => { Object.assign(request, { user: request.headers.authorization }) }
      app.addHook('onRoute', (route) => { route.preHandler = add([route.preHandler ?? []].flat(), auth) as never })
      app.get('/', async () => 'ok')
    })
    const as = (authorization: string) => ({ url: '/', headers: { authorization } })
    t.same(await statuses(as('ada'), as('ada'), as('bob')), [200, 429, 200], way)
  }
})

t.test('a key that is NaN is an error, and so is a clock that returns NaN', async (t) => {
  for (const key of [NaN, Infinity, true as never]) {
    const { app } = await build(t, { policies: { p: { rate: 1, burst: 9, key: () => key } } })
    t.match((await app.inject('/')).json(), { statusCode: 500, code: 'FC_ERR_LIMIT_INVALID' })
  }
  await t.rejects(build(t, { policies: { client }, clock: { now: () => NaN } }), { code: 'FC_ERR_OPTION_INVALID', message: /limiter\.clock\.now/ })
  const { app, clock } = await build(t, { policies: { client } })
  clock.time = NaN
  t.equal((await app.inject('/')).statusCode, 500)
})

t.test('a key function that reads the body in the first stage fails with an error that names the stage', async (t) => {
  type Body = FastifyRequest<{ Body: { user: string } | undefined }>
  const userOf = (value: object): string => Object.values(value).join()
  const keys: Array<(request: unknown) => string | undefined | Promise<string>> = [
    (request) => (request as Body).body!.user,
    (request) => (request as Body).body?.user,
    async (request) => (request as Body).body!.user,
    // The source of the function doesn't say what it reads.
    (request) => userOf((request as Record<string, object>)[['bo', 'dy'].join('')]!)
  ]
  for (const key of keys) {
    for (const config of [{}, { rateLimit: { ...own, keyGenerator: key as never } }]) {
      const { app } = await build(t, { policies: { user: { rate: 1, burst: 9, key, routes: 'rateLimit' in config ? 'named' : 'all' } } }, (app) => {
        app.post('/', { config }, async () => 'ok')
      })
      for (let i = 0; i < 2; i++) {
        const response = await app.inject({ method: 'POST', url: '/', payload: { user: 'ada' } })
        t.match(response.json(), { code: 'FC_ERR_LIMIT_INVALID', message: /stage: 'preHandler'/ })
      }
    }
  }
})

t.test('a key function that speaks of a body, or fails without reading it, fails as it does', async (t) => {
  const keys = {
    'x-body': (request: FastifyRequest) => request.headers['x-body'] as string,
    body: (request: FastifyRequest) => { if (request.url === '/body') throw Object.assign(new Error('no body'), { statusCode: 418 }); return 'k' }
  }
  const { app, statuses } = await build(t, { policies: { p: { rate: NEVER, burst: 1, key: keys['x-body'], routes: 'named' }, q: { rate: 1, burst: 9, key: keys.body, routes: 'named' } } }, (app) => {
    app.post('/header', { config: { limiter: { policies: ['p'] } } }, async (request) => request.body)
    app.post('/body', { config: { limiter: { policies: ['q'] } } }, async (request) => request.body)
  })
  const post = (url: string, headers = {}) => ({ method: 'POST', url, payload: { n: 1 }, headers } as const)
  t.same(await statuses(post('/header'), post('/body')), [401, 418])
  t.same((await app.inject(post('/header', { 'x-body': 'a' }))).json(), { n: 1 }, 'the handler gets its body')
  t.same(await statuses(post('/header', { 'x-body': 'a' }), post('/header')), [429, 401])
})

t.test('an error handler that answers a refusal with its status keeps Retry-After; another answer doesn\'t have it', async (t) => {
  const { lines, logger } = logLines()
  const app = Fastify({ logger })
  t.teardown(() => app.close())
  await app.register(limiter, { policies: { out: { rate: 0.1, burst: 1, routes: 'named' } } })
  app.setErrorHandler(async (error: Error & { statusCode: number }, request, reply) => {
    reply.log.error({ err: error }, 'mine')
    return reply.code(request.url === '/same' ? error.statusCode : 200).send({ mine: true })
  })
  for (const url of ['/same', '/other']) app.get(url, async () => { await app.limiter.wait('out', undefined, { timeout: 0 }) })
  await app.inject('/same')
  const [same, other] = [await app.inject('/same'), await app.inject('/other')]
  t.same([same.statusCode, same.headers['retry-after'], same.json()], [429, '10', { mine: true }])
  t.same([other.statusCode, other.headers['retry-after']], [200, undefined])
  t.equal(lines.filter(({ level, msg }) => level === 50 && msg === 'mine').length, 2, 'a log line of the application stays at its level')
})

t.test('a handler that catches a refusal and answers with its status keeps Retry-After; another answer doesn\'t have it', async (t) => {
  const { app } = await build(t, { policies: { slow: { rate: 1 / 99.1, burst: 1, routes: 'named' }, slower: { rate: 1 / 999.1, burst: 1, routes: 'named' } } }, (app) => {
    const refused = async (policy: string): Promise<LimitedError> => await app.limiter.wait(policy, undefined, { timeout: 0 }).catch((error) => error)
    app.setErrorHandler(async (error: Error, _request, reply) => {
      if (error.message === 'mapped') return reply.code(429).send({ mine: true })
      throw error
    })
    app.get('/same', async (_request, reply) => reply.code((await refused('slow')).statusCode!).send({ mine: true }))
    app.get('/last', async (_request, reply) => {
      await refused('slow')
      return reply.code((await refused('slower')).statusCode!).send({ mine: true })
    })
    app.get('/mapped', async () => { await refused('slow'); throw new Error('mapped') })
    app.get('/own', async (_request, reply) => { await refused('slow'); return reply.code(429).header('retry-after', '7').send('own') })
    app.get('/other', async () => { await refused('slow'); return { mine: true } })
    app.get('/fails', async () => { await refused('slow'); throw new Error('broken') })
  })
  for (const policy of ['slow', 'slower']) await app.limiter.allow(policy)
  const answer = async (url: string): Promise<unknown[]> => {
    const { statusCode, headers } = await app.inject(url)
    return [statusCode, headers['retry-after']]
  }
  t.strictSame(await Promise.all(['/same', '/last', '/mapped', '/own', '/other', '/fails'].map(answer)),
    [[429, '100'], [429, '1000'], [429, '100'], [429, '7'], [200, undefined], [500, undefined]])
})

t.test('an error handler may set the headers of a refusal', async (t) => {
  const { app } = await build(t, { policies: { out: { rate: 0.1, burst: 1, routes: 'named' } } }, (app) => {
    app.setErrorHandler(async (error: Error & { headers: object }) => { error.headers = { 'x-mine': '1' }; throw error })
    app.get('/', async () => { await app.limiter.wait('out', undefined, { timeout: 0 }) })
  })
  await app.inject('/')
  const { statusCode, headers } = await app.inject('/')
  t.match([statusCode, headers['x-mine']], [429, '1'])
})

t.test('messages that clients see list no other names', async (t) => {
  for (const error of [new LimitUnknownError('mine', ['fraud-watch']), new TaskUnknownError('mine', ['sync-acme-corp'])]) {
    t.notMatch(error.message, /fraud-watch|sync-acme-corp/)
    t.equal(error.known.length, 1)
  }
  t.notMatch(new LimitWaitersFullError(undefined, 1, 1).message, /undefined/)
  t.equal(new LimitedError(undefined, 1).policy, undefined)
  const { app } = await build(t, { maxWaiting: 0, policies: { secret: { rate: NEVER, burst: 1, routes: 'named', expose: false } } })
  await app.limiter.wait('secret')
  t.notMatch((await rejection(app.limiter.wait('secret'))).message, /secret/)
})
