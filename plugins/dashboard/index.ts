/**
 * The dashboard: a live page about the service, for its operators: what is served, what is refused and why, what runs now, with a button that cancels it.
 *
 * The page is off in production unless `authorize` decides who sees it; otherwise it answers clients on the same machine only. It shows names of
 * routes, jobs, tasks and policies, and texts of errors. It never shows a client's key, only a digest. It is no history: it keeps five minutes, and what must
 * be kept or must wake somebody belongs into Prometheus (docs/metrics.md).
 *
 * The plugin isn't wrapped by fastify-plugin, so that its hooks and headers reach its own routes only.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { listen } from '../channel-messages.ts'
import type { Metrics } from '../metrics/index.ts'
import { DashboardForbiddenError, PartMissingError } from '../shared/errors.ts'
import { logSafely } from '../shared/log.ts'
import { ensure } from '../shared/options.ts'
import { Feed } from './feed.ts'
import { pageFiles } from './files.ts'
import { whyNotLocal, whyNotOwn, type Visit } from './guard.ts'
import { cancelJob } from './jobs.ts'
import { resolveOptions, type DashboardOptions } from './options.ts'
import { Streams } from './streams.ts'

export type { DashboardOptions } from './options.ts'

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

/** The servers whose application has a dashboard. The plugin is encapsulated, so a decorator would not tell a second registration. */
const servers = new WeakSet<object>()

async function dashboard (app: FastifyInstance, options: DashboardOptions): Promise<void> {
  const { path, authorize } = resolveOptions(options)
  ensure(!servers.has(app.server), 'dashboard', 'one registration of the dashboard (the suite registers it too)', 'a second one')
  servers.add(app.server)
  if (authorize === undefined && process.env['NODE_ENV'] === 'production') {
    logSafely(app.log, 'warn', {}, 'dashboard: off, because NODE_ENV is production and the option authorize doesn\'t say who may see it')
    return
  }
  const files = pageFiles()
  const streams = new Streams()
  let feed: Feed | undefined
  let unlisten = (): void => {}

  async function guard (request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const { raw: { httpVersion, socket: { remoteAddress: address }, rawHeaders }, method, headers, originalUrl: target } = request
    const visit: Visit = { method, httpVersion, address, headers, rawHeaders, target }
    const why = (authorize === undefined ? whyNotLocal(visit) : undefined) ?? whyNotOwn(visit)
    if (why !== undefined) throw new DashboardForbiddenError(why)
    if (authorize !== undefined && await authorize(request, reply) !== true) throw new DashboardForbiddenError('the option dashboard.authorize has refused it')
  }

  app.addHook('onReady', async () => {
    if (!app.hasDecorator('metrics')) throw new PartMissingError('metrics', '{ metrics: {} }, which the dashboard shows')
    feed = new Feed(app, streams, app.getDecorator<Metrics>('metrics').reader())
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
  const shared = { logLevel: 'warn', config: { lifecycle: 'always', limiter: false, rateLimit: false } } as const

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
      if (feed !== undefined && !streams.isFull) streams.open(reply, feed.hello)
      else reply.code(503).header('retry-after', '5').send({ statusCode: 503, error: 'Service Unavailable', message: 'As many pages are open as may be: close one and try again' })
    })

    routes.post<{ Querystring: { pool?: unknown, id?: unknown } }>('/cancel', shared, async ({ query: { pool, id }, log }, reply) => {
      const subject = typeof pool === 'string' && typeof id === 'string' ? cancelJob(app.server, pool, id) : undefined
      const cancelled = subject !== undefined
      if (cancelled) {
        logSafely(log, 'warn', { pool, jobId: id }, 'a job was cancelled on the dashboard')
        feed?.note(subject, 'it was cancelled on the dashboard')
      }
      return reply.code(cancelled ? 200 : 404).headers(headers).send({ cancelled })
    })
  }, { prefix: path })
}

export default dashboard
