/**
 * The dashboard: a live page about the service, for its operators: what is served, what is refused and why, what runs
 * now, with a button that cancels it, and what is stored, with a way back for what has failed.
 *
 * The page is off in production unless `authorize` decides who sees it; otherwise it answers clients on the same
 * machine only. It shows names of routes, jobs, tasks and policies, and texts of errors. It shows a digest of a
 * client's key, and the key itself only with `showKeys`. It forgets what is older than an hour: what must be kept or
 * must wake somebody belongs into Prometheus (docs/metrics.md).
 *
 * The plugin isn't wrapped by fastify-plugin, so that its hooks and headers reach its own routes only.
 */
import { randomUUID } from 'node:crypto'
import { Socket, type AddressInfo } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { listen } from '../channel-messages.ts'
import type { Metrics } from '../metrics/index.ts'
import { addressKey } from '../shared/address-key.ts'
import { DashboardForbiddenError, DashboardProcessError, PartMissingError } from '../shared/errors.ts'
import { hidden, kCountedAs } from '../shared/http/internal-route.ts'
import { logSafely } from '../shared/log.ts'
import { ensure } from '../shared/options.ts'
import { processName } from '../process-name.ts'
import { AttemptsByAddress } from './attempts.ts'
import { Feed } from './feed.ts'
import { pageFiles } from './files.ts'
import { whyNotHost, whyNotListening, whyNotLocal, whyNotOwn, type Visit } from './guard.ts'
import { cancelJob } from './running-jobs.ts'
import { resolveOptions, type Authorize, type DashboardOptions } from './options.ts'
import { Streams } from './streams.ts'
import { addTaskRoutes, operatorOf } from './task-routes.ts'

export type { Authorize, DashboardOptions, Payloads } from './options.ts'

/**
 * A page that has no inline code, loads nothing from elsewhere, and can't be framed by a page that makes its user click
 * on Cancel.
 */
const headers = {
  'content-security-policy': [
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", 'img-src data:',
    "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"
  ].join('; '),
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'cache-control': 'no-cache'
}

/**
 * Tells whether `authorize` lets the request pass. An error that it throws is the answer. Anything else that it throws
 * can be none: Fastify would answer 500 for null.
 */
async function isAuthorized (authorize: Authorize, request: FastifyRequest, reply: FastifyReply): Promise<boolean> {
  try {
    return await authorize(request, reply) === true
  } catch (error) {
    if (typeof error === 'object' && error !== null) throw error
    return false
  }
}

/**
 * The servers whose application has a dashboard. The plugin is encapsulated, so a decorator would not tell a second
 * registration.
 */
const servers = new WeakSet<object>()

/** The Fastify plugin of the dashboard, a live page for operators. It needs `authorize`, or serves only this machine. */
async function dashboard (app: FastifyInstance, options: DashboardOptions): Promise<void> {
  const { path, authorize, hosts, policies, showKeys, payloads } = resolveOptions(options)
  ensure(!servers.has(app.server), 'dashboard', 'one registration of the dashboard (the suite registers it too)',
    'a second one')
  servers.add(app.server)
  if (authorize === undefined && process.env['NODE_ENV'] === 'production') {
    logSafely(app.log, 'warn', {},
      'dashboard: off, because NODE_ENV is production and the option authorize doesn\'t say who may see it')
    return
  }
  if (policies.length > 0 && !app.hasDecorator('limiter')) {
    throw new PartMissingError('limiter', '{ limiter: { policies } }, which dashboard.policies names')
  }
  const files = pageFiles()
  const streams = new Streams()
  // With the UUID, since the process that follows in a container has the name of the one before.
  const self = `${processName}/${randomUUID().slice(0, 8)}`
  let feed: Feed | undefined
  let unlisten = (): void => {}
  const attempts = new AttemptsByAddress((address) => {
    const what = 'authorize has refused many requests of an address, which gets 429 for the rest of the minute'
    logSafely(app.log, 'warn', { address }, `dashboard: ${what}`)
    feed?.note('dashboard', what)
  })

  async function guard (request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const { raw: { httpVersion, socket, rawHeaders }, method, headers, originalUrl: target } = request
    const isInjected = !(socket instanceof Socket)
    const visit: Visit = { method, httpVersion, address: socket.remoteAddress, headers, rawHeaders, target, isInjected }
    const why = (authorize === undefined ? whyNotListening(listening()) ?? whyNotLocal(visit) : undefined) ??
      (hosts === undefined ? undefined : whyNotHost(visit, hosts)) ?? whyNotOwn(visit)
    if (why !== undefined) throw new DashboardForbiddenError(why)
    if (authorize === undefined) return
    const client = addressKey(request.ip)
    const attempt = attempts.begin(client, performance.now())
    if (!await isAuthorized(authorize, request, reply)) {
      throw new DashboardForbiddenError('the option dashboard.authorize has refused it')
    }
    attempts.passed(client, attempt)
  }

  /** The addresses that the service listens on. A Unix socket has none, and its clients have none either. */
  function listening (): string[] {
    return app.addresses().map((bound) => (bound as Partial<AddressInfo>).address)
      .filter((address) => address !== undefined)
  }

  app.addHook('onListen', async () => {
    const why = authorize === undefined ? whyNotListening(listening()) : undefined
    if (why !== undefined) logSafely(app.log, 'warn', {}, `dashboard: closed, because ${why}`)
    // Of a Unix socket there is no URL.
    else if (listening().length > 0) {
      logSafely(app.log, 'info', {}, `dashboard: at ${app.listeningOrigin}${app.prefix}${path}`)
    }
  })
  app.addHook('onReady', async () => {
    if (!app.hasDecorator('metrics')) {
      throw new PartMissingError('metrics', '{ metrics: {} }, which the dashboard shows')
    }
    // The feed asks Redis itself, while a page is open.
    feed = new Feed(app, streams, app.getDecorator<Metrics>('metrics').reader({ queues: false }), self, showKeys)
    feed.start()
    // The pages see the whole drain: lifecycle ends their streams only when the app closes.
    unlisten = listen(app.server, 'fastify-concurrency:lifecycle:entered',
      ({ phase }) => phase === 'closing' ? feed?.end() : feed?.enter(phase))
  })
  app.addHook('preClose', async () => { if (!app.hasDecorator('lifecycle')) feed?.end() })
  app.addHook('onClose', async () => {
    unlisten()
    feed?.end()
  })

  // Probed each second or open for hours, the page must not fill the log, count against a limit, or hold up a shutdown.
  // The names are checked by the limiter, at boot.
  const limits = policies.length > 0
    ? { limiter: { policies: policies as never[] } }
    : { limiter: false, rateLimit: false } as const
  const shared = {
    logLevel: 'warn', schema: hidden(), config: { lifecycle: 'always', loop: false, [kCountedAs]: 'dashboard', ...limits }
  } as const

  await app.register(async (routes) => {
    routes.addHook('onRequest', guard)
    routes.addHook('onRequest', async (_request, reply) => { reply.headers(headers) })

    for (const { url, type, content } of files) {
      routes.get(`/${url}`, shared, async (request, reply) => {
        // Relative, since a proxy may have put a path of its own before ours. The page's own addresses are relative
        // too, to a path that ends with /.
        const isPage = url === ''
        if (isPage && !request.url.split('?', 1)[0]?.endsWith('/')) {
          return reply.redirect(`.${path.slice(path.lastIndexOf('/'))}/`)
        }
        return reply.type(type).send(content)
      })
    }

    routes.get('/events', { ...shared, exposeHeadRoute: false }, (_request, reply) => {
      if (feed !== undefined && streams.mayOpen(reply)) streams.open(reply, feed.hello)
      else {
        reply.code(503).header('retry-after', '5').send({
          statusCode: 503,
          error: 'Service Unavailable',
          message: 'As many pages are open as may be: close one and try again'
        })
      }
    })

    /** Behind a load balancer, the stream of a page and its other requests may reach different processes. */
    function ensureSame (shown: unknown): void {
      if (shown !== self) throw new DashboardProcessError(String(shown).slice(0, 200), self)
    }

    type Own = { Querystring: { process?: unknown } }
    routes.get<Own>('/history', { ...shared, exposeHeadRoute: false }, async ({ query }, reply) => {
      ensureSame(query.process)
      return await reply.type('application/json').send(feed?.hour ?? '{"samples":[]}')
    })

    type Job = { Querystring: { process?: unknown, pool?: unknown, id?: unknown } }
    routes.post<Job>('/cancel', shared, async (request, reply) => {
      const { query: { process: shown, pool, id } } = request
      ensureSame(shown)
      const isNamed = typeof pool === 'string' && typeof id === 'string'
      const subject = isNamed ? cancelJob(app.server, pool, id) : undefined
      const cancelled = subject !== undefined
      if (cancelled) {
        // A log that authorize has put on the request, with the name of its user, is used.
        logSafely(request.log, 'warn', { pool, jobId: id, job: subject, operator: operatorOf(request) },
          'a job was cancelled on the dashboard')
        feed?.note(`job ${subject}`, 'it was cancelled on the dashboard')
      }
      return cancelled ? { cancelled } : reply.code(404).send({ cancelled, message: 'it had ended already' })
    })

    addTaskRoutes(routes, shared, payloads, (subject, reason) => feed?.note(subject, reason))
  }, { prefix: path })
}

export default dashboard
