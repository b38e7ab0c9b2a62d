import t from 'tap'
import Fastify, { type FastifyReply } from 'fastify'
import { mock } from 'node:test'
import { LimitedError, WorkersOverloadedError } from '../../plugins/shared/errors.ts'
import refusalLog from '../../plugins/shared/refusal-log.ts'
import { logLines, rejection, startApp, until } from '../helper.ts'

const overloaded = (job: string, reason: 'count' | 'wait' = 'count'): WorkersOverloadedError => new WorkersOverloadedError(job, { reason, waiting: 1, estimatedWait: 0, limit: 1, retryAfter: 1 })

t.test('refusals: one line at debug each, without a stack, one at warn for all; other errors as ever', async (t) => {
  const { lines, logger } = logLines()
  const restored: boolean[] = []
  const { app, workers } = await startApp(t, { maxQueue: 1 }, { logger }, (app, workers) => {
    app.get('/', async () => workers.run('spin', { ms: 300 }))
    app.addHook('onResponse', async (request, reply) => { restored.push(reply.log === request.log) })
    const caught = (path: string, answer: (reply: FastifyReply) => unknown): void => {
      app.get(path, async (_request, reply) => {
        await rejection(workers.run('spin', { ms: 300 }))
        return answer(reply)
      })
    }
    caught('/caught', (reply) => reply.code(503).send({ mine: true }))
    caught('/cached', (reply) => reply.send({ mine: true }))
    caught('/own', (reply) => reply.code(503).header('retry-after', '7').send({ mine: true }))
    app.get('/broken', async () => { throw new Error('broken') })
  })
  const accepted = [app.inject('/')]
  await until(() => workers.stats().running === 1, 'the first runs')
  accepted.push(app.inject('/'))
  await until(() => workers.stats().waiting === 1, 'the second waits')
  const refused = await Promise.all(Array.from({ length: 20 }, () => app.inject('/')))
  t.ok(refused.every(({ statusCode }) => statusCode === 503))
  const [first] = refused
  t.match(first?.headers['retry-after'], /^[1-9]\d*$/)
  t.same(first?.json(), { statusCode: 503, code: 'FC_ERR_WORKERS_OVERLOADED', error: 'Service Unavailable', message: `The job "spin" was refused: the workers are overloaded, try again in ${first?.headers['retry-after']} s` })
  t.match((await app.inject('/caught')).headers['retry-after'], /^[1-9]\d*$/, 'also where the handler answers a refusal that it has caught')
  t.equal((await app.inject('/cached')).headers['retry-after'], undefined, 'not on an answer with another status')
  t.equal((await app.inject('/own')).headers['retry-after'], '7', 'the field of the application itself stays')
  await app.inject('/broken')
  await Promise.all(accepted)
  await app.close()

  t.same([restored.length, new Set(restored)], [26, new Set([true])], 'each reply has its own log again')
  t.match(lines.filter(({ level }) => level === 50).map(({ msg }) => msg), ['broken'], 'an error is still an error')
  const each = lines.filter(({ level, err }) => level === 20 && (err as { code?: string } | undefined)?.code === 'FC_ERR_WORKERS_OVERLOADED')
  t.equal(each.length, 20)
  t.match(each[0], { err: { reason: 'count', waiting: 1, limit: 1, estimatedWait: Number, job: 'spin' } }, 'with its arithmetic')
  t.notMatch((each[0] as { err?: { stack?: string } }).err?.stack, /^ {4}at /m)
  const summaries = lines.filter(({ level, msg }) => level === 40 && msg === 'requests were refused')
  t.ok(summaries.length >= 2 && summaries.length < 20, 'at the first, once a second, and at the end')
  t.equal(summaries.reduce((sum, { refused }) => sum + (refused as number), 0), 20)
  t.ok(summaries.every(({ code, job, reason }) => code === 'FC_ERR_WORKERS_OVERLOADED' && job === 'spin' && reason === 'count'), 'with the class')
})

t.test('thrown refusals with a status below 500 were a line at info each: now they are counted, too', async (t) => {
  const { lines, logger } = logLines()
  const app = Fastify({ logger })
  t.teardown(() => app.close())
  await app.register(refusalLog)
  app.get('/', async () => { throw new LimitedError('mail', 1) })
  app.get('/teapot', async (_request, reply) => reply.code(418).send(new Error('no refusal')))
  for (let n = 0; n < 99; n++) t.equal((await app.inject('/')).statusCode, 429)
  await app.inject('/teapot')
  await app.close()
  t.match(lines.filter(({ level, err }) => level === 30 && err !== undefined), [{ err: { message: 'no refusal' } }])
  t.equal(lines.filter(({ level, err }) => level === 20 && err !== undefined).length, 99)
  const summaries = lines.filter(({ level }) => level === 40)
  t.match(summaries[0], { code: 'FC_ERR_LIMITED', policy: 'mail', refused: 1 })
  t.equal(summaries.reduce((sum, { refused }) => sum + (refused as number), 0), 99)
})

t.test('an error handler of the application still has the last word', async (t) => {
  const { lines, logger } = logLines()
  const { app, workers } = await startApp(t, { maxQueue: 0 }, { logger }, (app, workers) => {
    app.setErrorHandler(async (error: Error & { code?: string }, _request, reply) => {
      reply.log.error({ err: new Error('another') }, 'mine')
      return reply.code(418).send({ mine: error.code })
    })
    app.get('/', async () => workers.run('spin', { ms: 300 }))
  })
  const first = app.inject('/')
  await until(() => workers.stats().running === 1, 'the first runs')
  const second = await app.inject('/')
  t.equal(second.statusCode, 418)
  t.same(second.json(), { mine: 'FC_ERR_WORKERS_OVERLOADED' })
  t.match(lines.filter(({ level }) => level === 50), [{ msg: 'mine' }])
  await first
})

t.test('a logger of the application\'s own, with private fields', async (t) => {
  const said: string[] = []
  class Logger {
    readonly #said = said
    level = 'info'
    info (fields: object): void { this.#said.push(`info ${Object.keys(fields).join()}`) }
    error (): void { this.#said.push('error') }
    debug (): void { this.#said.push('debug') }
    warn (): void { this.#said.push('warn') }
    fatal (): void {}
    trace (): void {}
    silent (): void {}
    child (): Logger { return this }
  }
  const { app, workers } = await startApp(t, { maxQueue: 0 }, { loggerInstance: new Logger() } as object, (app, workers) => {
    app.get('/', async () => workers.run('spin', { ms: 200 }))
  })
  const first = app.inject('/')
  await until(() => workers.stats().running === 1, 'the first runs')
  t.equal((await app.inject('/')).statusCode, 503)
  await first
  t.notOk(said.includes('error'))
  t.ok(said.includes('info res,responseTime'), 'the request\'s own lines are as ever')
})

t.test('the refusals of a period are logged at its end, even if no further one follows', async (t) => {
  const { lines, logger } = logLines()
  const app = Fastify({ logger })
  t.teardown(() => app.close())
  await app.register(refusalLog)
  app.get('/', async () => { throw overloaded('spin') })
  const told = (): unknown[] => lines.filter(({ level }) => level === 40).map(({ refused }) => refused)
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  for (let n = 0; n < 3; n++) await app.inject('/')
  t.same(told(), [1])
  mock.timers.tick(1_000)
  t.same(told(), [1, 2])
})

t.test('refusals of each class are one line a second, and a flood of classes is counted by code', async (t) => {
  const { lines, logger } = logLines()
  const app = Fastify({ logger })
  t.teardown(() => app.close())
  await app.register(refusalLog)
  app.get<{ Params: { job: string, reason: 'count' | 'wait' } }>('/:job/:reason', async ({ params: { job, reason } }) => { throw overloaded(job, reason) })
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  const told = (): unknown[] => lines.splice(0).filter(({ level }) => level === 40).map(({ job, reason, refused }) => [job, reason, refused])
  await app.inject('/first/wait')
  t.strictSame(told(), [['first', 'wait', 1]])
  for (const url of ['/search/wait', '/search/count', '/hash/count', '/search/wait']) await app.inject(url)
  mock.timers.tick(1_000)
  t.strictSame(told(), [['search', 'wait', 2], ['search', 'count', 1], ['hash', 'count', 1]])
  for (let n = 0; n < 100; n++) await app.inject(`/job-${n}/wait`)
  mock.timers.tick(1_000)
  const flood = told()
  t.equal(flood.length, 21)
  t.strictSame(flood.at(-1), [undefined, undefined, 80])
})
