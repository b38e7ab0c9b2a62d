// What policies with `concurrency` count and publish: grants, waits and refusals, of requests and of code.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import type { ChannelMessages } from '../../../plugins/index.ts'
import limiter from '../../../plugins/limiter/index.ts'
import metrics from '../../../plugins/metrics/index.ts'
import { deferred, rejection, until } from '../../helper.ts'

const BUSY = 'fastify-concurrency:limiter:busy'
type Busy = ChannelMessages[typeof BUSY]

t.test('grants, waits and refusals of a bound are counted and published, of requests and of code', async (t) => {
  const app = Fastify() as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(metrics)
  const key = (request: { headers: Record<string, unknown> }): string => String(request.headers['x-tenant'])
  await app.register(limiter, {
    policies: {
      db: { concurrency: 1, maxWait: 10_000, maxWaiting: 1, routes: 'named' },
      tenant: { concurrency: 1, maxWaiting: 0, key }
    }
  })
  const end = deferred()
  app.get('/report/:id', async () => { await end.promise; return 'done' })
  await app.ready()
  const published: Busy[] = []
  const listener = (message: unknown): void => { if ((message as Busy).server === app.server) published.push(message as Busy) }
  subscribe(BUSY, listener)
  t.teardown(() => unsubscribe(BUSY, listener))
  const of = (policy: string): unknown => app.metrics.snapshot().limits.find((each) => each.policy === policy)
  t.match(of('db'), { granted: 0, refused: 0, bound: { running: 0, waiting: 0, wait: { count: 0 } } }, 'a policy counts from 0')

  const first = app.limiter.run('db', () => end.promise)
  const second = app.limiter.run('db', () => 'second')
  t.match(await rejection(app.limiter.run('db', () => 'third')), { code: 'FC_ERR_LIMIT_BUSY', reason: 'count' })
  t.match(of('db'), { granted: 1, refused: 1, bound: { running: 1, waiting: 1, wait: { count: 1 } } })

  const headers = { 'x-tenant': 'acme' }
  const served = app.inject({ url: '/report/1', headers })
  await until(() => (of('tenant') as { bound: { running: number } }).bound.running === 1, 'the request holds a permit')
  t.equal((await app.inject({ url: '/report/2', headers })).statusCode, 503)
  t.match(of('tenant'), { granted: 1, refused: 1, bound: { running: 1, waiting: 0 } })

  end.resolve()
  await Promise.all([first, second, served])
  t.match(of('db'), { granted: 2, refused: 1, bound: { running: 0, waiting: 0, wait: { count: 2 } } })
  await until(() => (of('tenant') as { bound: { running: number } }).bound.running === 0, 'the permit was given back')
  t.match(published, [
    { policy: 'db', key: '', reason: 'count', waiting: 1, limit: 1, route: undefined },
    { policy: 'tenant', key: 'acme', reason: 'count', waiting: 0, limit: 0, method: 'GET', route: '/report/:id' }
  ])
})
