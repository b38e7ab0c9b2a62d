/**
 * The lifecycle plugin shuts an application down and finishes what was accepted, within a deadline: `app.lifecycle.shutdown(reason)`. Its phases
 * are in phases.ts, its course in shutdown.ts. The plugin knows neither workers nor tasks: all accepted work is in drainablesOf(app).
 *
 * The plugin installs no handlers of process signals. close-with-grace does, also for uncaught errors and for a second signal, which ends the
 * process at once.
 */
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { drainablesOf } from '../shared/drainables.ts'
import { fastifyOptionsOf } from '../shared/private.ts'
import { endpointsOf } from '../shared/http/endpoints.ts'
import { logSafely } from '../shared/log.ts'
import { ensure, fn } from '../shared/options.ts'
import { kRequestWork } from '../shared/http/request-work.ts'
import refusalLog from '../shared/refusal-log.ts'
import { LISTEN_TIMEOUT_MS } from './close/listening.ts'
import { inTurns } from './close/long-hook.ts'
import type { ShutdownReport } from './drain.ts'
import { createGuard } from './guard.ts'
import { resolveOptions, type LifecycleOptions } from './options.ts'
import { later, type Phase } from './phases.ts'
import { addProbes } from './probes.ts'
import { addGate } from './requests/gate.ts'
import { createInFlight } from './requests/requests.ts'
import { createShutdownHooks, type ShutdownHook } from './shutdown-hooks.ts'
import { createShutdown } from './shutdown.ts'

export type { Unfinished } from '../shared/drainables.ts'
export type { ShutdownReport } from './drain.ts'
export type { ShutdownHook } from './shutdown-hooks.ts'
export type { LifecycleOptions, ReadyCheck } from './options.ts'
export type { Phase } from './phases.ts'

declare module 'fastify' {
  interface FastifyInstance {
    lifecycle: Lifecycle
  }

  interface FastifyContextConfig {
    /** `always`: the route is answered until the app closes, and a shutdown doesn't wait for it. Use it for liveness, metrics, dashboards. */
    lifecycle?: 'always'
  }
}

/** The shutdown of an application, `app.lifecycle`. */
export interface Lifecycle {
  /** The phase now: `serving` until a shutdown begins. */
  readonly phase: Phase
  /** True between the end of boot and the call of shutdown() or close(). */
  readonly ready: boolean
  /**
   * Drains and closes the app. Idempotent: the first call's reason holds, later ones get the same promise. Called during the boot, it lets the
   * app boot first. The promise never rejects because of unfinished work, which is in the report. It rejects if an onClose hook fails.
   *
   * In a request (known through the ambient request) the promise resolves when all other work has drained, before the app closes, so that the
   * answer can be sent. Don't await it in a task or a shutdown hook: the shutdown waits for that task or hook, until the deadline.
   */
  shutdown (reason?: string): Promise<ShutdownReport>
  /**
   * Runs `hook` when requests drain: end a stream or socket there. Returns the function that removes the hook. An error of the hook is logged,
   * and stops nothing.
   *
   * @throws OptionInvalidError
   */
  onShutdown (hook: ShutdownHook): () => void
}

const plugin: FastifyPluginAsync<LifecycleOptions> = async (app, opts) => {
  const options = resolveOptions(opts, endpointsOf(app) !== undefined)
  ensure(!app.hasRequestDecorator(kRequestWork), 'lifecycle', 'lifecycle to be registered once (the suite registers it too)', 'a second registration')
  await app.register(refusalLog)
  const guard = createGuard(app.log)
  const inFlight = createInFlight(app, options, guard)
  const hooks = createShutdownHooks((err) => logSafely(app.log, 'error', { err }, 'a shutdown hook failed'))
  const shutdown = createShutdown(app, options, inFlight, hooks, guard)
  drainablesOf(app).add(hooks).add(inFlight)

  app.decorate('lifecycle', {
    get phase () { return shutdown.phase },
    get ready () { return shutdown.ready },
    shutdown: (reason) => shutdown.start(reason),
    onShutdown: (hook) => hooks.add(fn<ShutdownHook>('onShutdown', hook))
  })
  addGate(app, inFlight, () => shutdown.phase, fastifyOptionsOf(app)['return503OnClosing'] !== false)
  addProbes(app, options)

  app.addHook('onReady', async () => shutdown.onReady())
  // After a close() during the boot, Fastify would still begin to listen, and never end.
  app.addHook('onListen', (done) => {
    if (later(shutdown.phase, 'closing') === shutdown.phase) app.server.close()
    done()
  })
  const { pluginTimeout = 0 } = app.initialConfig
  for (const hook of inTurns(async () => shutdown.preClose(), options.timeout + options.grace + LISTEN_TIMEOUT_MS, pluginTimeout)) app.addHook('preClose', hook)
  app.addHook('onClose', async () => shutdown.onClose())
}

/**
 * The Fastify plugin of the shutdown, `app.lifecycle`: readiness, drain, deadline. Register it alone if you use
 * nothing else of the suite.
 */
export default fp(plugin, { name: 'fastify-concurrency/lifecycle', fastify: '5.x' })
