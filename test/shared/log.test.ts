// A logger that throws: the log stream was destroyed, or a getter of an error throws when the logger reads it.
import t from 'tap'
import Fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import concurrency from '../../plugins/index.ts'
import { deferred } from '../helper.ts'

/** A logger that throws at debug and warn, the levels at which the suite writes about requests and routes. */
function throwing (): FastifyBaseLogger {
  const silent = (): void => {}
  const fail = (): never => { throw new Error('the log stream was destroyed') }
  const logger = { level: 'debug', trace: silent, debug: fail, info: silent, warn: fail, error: silent, fatal: silent, silent, child: () => logger }
  return logger as unknown as FastifyBaseLogger
}

t.test('a logger that throws breaks neither a request nor the boot nor the shutdown', async (t) => {
  const app = Fastify({ loggerInstance: throwing() }) as unknown as FastifyInstance
  app.get('/early', async () => 'a route that comes before the suite is warned of')
  await app.register(concurrency, { limiter: { policies: { client: { rate: 10, burst: 10 } } }, tasks: { concurrency: 1, maxQueue: 0 } })
  const go = deferred()
  let submitted = 0
  app.post('/', async () => app.tasks.submit(`block:${++submitted}`, () => go.promise).status)
  await app.ready()
  const post = async (): Promise<[status: number, code: unknown]> => {
    // A client that a proxy hides is warned of too.
    const response = await app.inject({ method: 'POST', url: '/', headers: { 'x-forwarded-for': '192.0.2.1' } })
    return [response.statusCode, response.statusCode === 200 ? response.body : response.json<{ code: string }>().code]
  }

  t.strictSame(await post(), [200, 'waiting'])
  t.strictSame(await post(), [503, 'FC_ERR_TASKS_FULL'])
  const shutdown = app.lifecycle.shutdown()
  t.strictSame(await post(), [503, 'FC_ERR_CLOSING'])
  go.resolve()
  t.match(await shutdown, { unfinished: [] })
})
