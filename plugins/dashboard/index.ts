/**
 * The dashboard: a live page about the service, for its operators: what is served, what is refused and why, what runs now, with a button that cancels it.
 *
 * The page is off in production unless `authorize` decides who sees it; otherwise it answers clients on the same machine only. It shows names of
 * routes, jobs, tasks and policies, and texts of errors. It shows a digest of a
 * client's key, and the key itself only with `showKeys`. It is no history: what must
 * be kept or must wake somebody belongs into Prometheus (docs/metrics.md).
 *
 * The plugin isn't wrapped by fastify-plugin, so that its hooks and headers reach its own routes only.
 */
import { Socket, type AddressInfo } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { listen } from '../channel-messages.ts'
import type { Metrics } from '../metrics/index.ts'
import { addressKey } from '../shared/address-key.ts'
import { monotonic } from '../shared/clock.ts'
import { DashboardForbiddenError, PartMissingError } from '../shared/errors.ts'
import { hidden } from '../shared/http/internal-route.ts'
import { logSafely } from '../shared/log.ts'
import { ensure } from '../shared/options.ts'
import { AttemptsByAddress } from './attempts.ts'
import { Feed } from './feed.ts'
import { pageFiles } from './files.ts'
import { whyNotHost, whyNotListening, whyNotLocal, whyNotOwn, type Visit } from './guard.ts'
import { cancelJob } from './running-jobs.ts'
import { resolveOptions, type Authorize, type DashboardOptions } from './options.ts'
import { act, failedTasks } from './stored-tasks.ts'
import { Streams } from './streams.ts'

export type { Authorize, DashboardOptions, Payloads } from './options.ts'

/** A page that has no inline code, loads nothing from elsewhere, and can't be framed by a page that makes its user click on Cancel. */
const headers = {
  'content-security-policy': "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'cache-control': 'no-cache'
}

/** An error that `authorize` throws is the answer. Anything else that it throws can be none: Fastify would answer 500 for null. */
async function isAuthorized (authorize: Authorize, request: FastifyRequest, reply: FastifyReply): Promise<boolean> {
  try {
    return await authorize(request, reply) === true
  } catch (error) {
    if (typeof error === 'object' && error !== null) throw error
    return false
  }
}

/** The servers whose application has a dashboard. The plugin is encapsulated, so a decorator would not tell a second registration. */
const servers = new WeakSet<object>()

/** The Fastify plugin of the dashboard, a live page for operators. It needs `authorize`, or serves this machine only. */
async function dashboard (app: FastifyInstance, options: DashboardOptions): Promise<void> {
  const { path, authorize, hosts, policies, showKeys, payloads } = resolveOptions(options)
  ensure(!servers.has(app.server), 'dashboard', 'one registration of the dashboard (the suite registers it too)', 'a second one')
  servers.add(app.server)
  if (authorize === undefined && process.env['NODE_ENV'] === 'production') {
    logSafely(app.log, 'warn', {}, 'dashboard: off, because NODE_ENV is production and the option authorize doesn\'t say who may see it')
    return
  }
  if (policies.length > 0 && !app.hasDecorator('limiter')) throw new PartMissingError('limiter', '{ limiter: { policies } }, which dashboard.policies names')
  const files = pageFiles()
  const streams = new Streams()
  let feed: Feed | undefined
  let unlisten = (): void => {}
  const attempts = new AttemptsByAddress((address) => {
    logSafely(app.log, 'warn', { address }, 'dashboard: authorize has refused many requests of an address, which gets 429 for the rest of the minute')
    feed?.note('dashboard', 'authorize has refused many requests of an address, which gets 429 for the rest of the minute')
  })

  async function guard (request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const { raw: { httpVersion, socket, rawHeaders }, method, headers, originalUrl: target } = request
    const visit: Visit = { method, httpVersion, address: socket.remoteAddress, headers, rawHeaders, target, isInjected: !(socket instanceof Socket) }
    const why = (authorize === undefined ? whyNotListening(listening()) ?? whyNotLocal(visit) : undefined) ??
      (hosts === undefined ? undefined : whyNotHost(visit, hosts)) ?? whyNotOwn(visit)
    if (why !== undefined) throw new DashboardForbiddenError(why)
    if (authorize === undefined) return
    const client = addressKey(request.ip)
    const attempt = attempts.begin(client, monotonic.now())
    if (!await isAuthorized(authorize, request, reply)) throw new DashboardForbiddenError('the option dashboard.authorize has refused it')
    attempts.passed(client, attempt)
  }

  /** The addresses that the service listens on. A Unix socket has none, and its clients are refused by the lack of theirs. */
  function listening (): string[] {
    return app.addresses().map((bound) => (bound as Partial<AddressInfo>).address).filter((address) => address !== undefined)
  }

  app.addHook('onListen', async () => {
    const why = authorize === undefined ? whyNotListening(listening()) : undefined
    if (why !== undefined) logSafely(app.log, 'warn', {}, `dashboard: closed, because ${why}`)
  })
  app.addHook('onReady', async () => {
    if (!app.hasDecorator('metrics')) throw new PartMissingError('metrics', '{ metrics: {} }, which the dashboard shows')
    feed = new Feed(app, streams, app.getDecorator<Metrics>('metrics').reader(), showKeys)
    feed.start()
    // The pages see the whole drain: lifecycle ends their streams only when the app closes.
    unlisten = listen(app.server, 'fastify-concurrency:lifecycle:entered', ({ phase }) => phase === 'closing' ? feed?.end() : feed?.enter(phase))
  })
  app.addHook('preClose', async () => { if (!app.hasDecorator('lifecycle')) feed?.end() })
  app.addHook('onClose', async () => {
    unlisten()
    feed?.end()
  })

  // Probed each second or open for hours, the page must not fill the log, count against a limit, or hold up a shutdown.
  // The names are checked by the limiter, at boot.
  const limits = policies.length > 0 ? { limiter: { policies: policies as never[] } } : { limiter: false, rateLimit: false } as const
  const shared = { logLevel: 'warn', schema: hidden(), config: { lifecycle: 'always', loop: false, ...limits } } as const

  await app.register(async (routes) => {
    routes.addHook('onRequest', guard)

    for (const { url, type, content } of files) {
      routes.get(`/${url}`, shared, async (request, reply) => {
        // Relative, since a proxy may have put a path of its own before ours. The page's own addresses are relative too, to a path that ends with /.
        if (url === '' && !request.url.split('?', 1)[0]?.endsWith('/')) return reply.redirect(`.${path.slice(path.lastIndexOf('/'))}/`)
        return reply.headers(headers).type(type).send(content)
      })
    }

    routes.get('/events', { ...shared, exposeHeadRoute: false }, (_request, reply) => {
      if (feed !== undefined && streams.mayOpen(reply)) streams.open(reply, feed.hello)
      else reply.code(503).header('retry-after', '5').send({ statusCode: 503, error: 'Service Unavailable', message: 'As many pages are open as may be: close one and try again' })
    })

    routes.post<{ Querystring: { pool?: unknown, id?: unknown } }>('/cancel', shared, async (request, reply) => {
      const { query: { pool, id } } = request
      const subject = typeof pool === 'string' && typeof id === 'string' ? cancelJob(app.server, pool, id) : undefined
      const cancelled = subject !== undefined
      if (cancelled) {
        // A log that authorize has put on the request, with the name of its user, is used.
        logSafely(request.log, 'warn', { pool, jobId: id, job: subject, operator: operatorOf(request) }, 'a job was cancelled on the dashboard')
        feed?.note(`job ${subject}`, 'it was cancelled on the dashboard')
      }
      return reply.code(cancelled ? 200 : 404).headers(headers).send({ cancelled })
    })

    type Asked = Record<'name' | 'id' | 'action' | 'payloads' | 'offset', unknown>
    routes.get<{ Querystring: Asked }>('/tasks/failed', { ...shared, exposeHeadRoute: false }, async (request, reply) => {
      const { query: { name, id, payloads: isAsked, offset } } = request
      if (typeof name !== 'string' || feed?.hasQueue(name) !== true) return reply.code(404).headers(headers).send({ message: 'No tasks of this name are stored' })
      const from = Math.max(0, Math.trunc(Number(offset ?? 0)) || 0)
      const searched = typeof id === 'string' && id !== '' ? id : undefined
      const tasks = await failedTasks(app, name, from, searched, isAsked === 'true' ? payloads : undefined)
      if (isAsked === 'true') logSafely(request.log, 'info', { task: name, operator: operatorOf(request) }, 'payloads of failed tasks were read on the dashboard')
      return reply.headers(headers).send({ tasks, hasPayloads: payloads !== undefined })
    })

    routes.post<{ Querystring: Asked }>('/tasks/act', shared, async (request, reply) => {
      const { query: { name, id, action } } = request
      const isKnown = typeof name === 'string' && feed?.hasQueue(name) === true
      const done = isKnown ? await act(app, action, name, typeof id === 'string' ? id : '') : undefined
      if (done === undefined) return reply.code(404).headers(headers).send({ message: 'There is no such action, or no tasks of this name are stored' })
      logSafely(request.log, 'warn', { task: name, action, taskId: id, operator: operatorOf(request) }, 'stored tasks were changed on the dashboard')
      feed?.note(`task ${String(name)}`, done)
      return reply.headers(headers).send({ done })
    })
  }, { prefix: path })
}

/** Whom the log names: the user of basic authentication, if the request has it, and otherwise the address. */
function operatorOf ({ headers: { authorization = '' }, ip }: FastifyRequest): string {
  const [, credentials = ''] = /^Basic ([\w+/=]{1,1000})$/i.exec(authorization) ?? []
  const [, user] = /^([^:]{1,100}):/.exec(Buffer.from(credentials, 'base64').toString()) ?? []
  return user ?? ip
}

export default dashboard
