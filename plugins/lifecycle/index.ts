/**
 * A shutdown that loses nothing it accepted: `app.lifecycle.shutdown(reason)`. Phases in phases.ts.
 *
 * It knows nothing of workers or tasks: whoever holds accepted work is in drainablesOf(app). A bare `app.close()` gets the
 * same drain from a preClose hook, with what Fastify's order takes away: no delay, and from the first moment on Fastify
 * answers every new request, liveness included, with its own 503.
 *
 * Not ours: process signals. close-with-grace has them, uncaught errors and "a second signal ends at once" too.
 */
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { currentRequest } from '../cancellation/index.ts'
import { monotonic } from '../shared/clock.ts'
import { drainablesOf, type Unfinished } from '../shared/drainables.ts'
import { logSafely } from '../shared/log.ts'
import { ensure, fn } from '../shared/options.ts'
import refusalLog from '../shared/refusal-log.ts'
import { drained as drainedChannel, phaseEntered } from './channels.ts'
import { connectionsOf } from './connections.ts'
import { runsReadyHooks, serverOption } from './contexts.ts'
import { drain } from './drain.ts'
import { once } from './once.ts'
import { watchExit } from './exits.ts'
import { addGate, isAlways } from './gate.ts'
import { createShutdownHooks, type ShutdownHook } from './shutdown-hooks.ts'
import { resolveOptions, type LifecycleOptions } from './options.ts'
import { isReady, isStopping, later, type Phase } from './phases.ts'
import { addProbes } from './probes.ts'
import { createInFlight, kEntry } from './requests.ts'
import { watchListening } from './listening.ts'
import { createTimers, type Timers } from './timers.ts'

export type { Unfinished } from '../shared/drainables.ts'
export type { ShutdownHook } from './shutdown-hooks.ts'
export type { LifecycleOptions, ReadyCheck } from './options.ts'
export type { Phase } from './phases.ts'

declare module 'fastify' {
  interface FastifyInstance {
    lifecycle: Lifecycle
  }

  interface FastifyContextConfig {
    /** `always`: answered until the app closes, and not waited for. For liveness, metrics, dashboards. */
    lifecycle?: 'always'
  }
}

export interface ShutdownReport {
  reason: string
  /** Requests, tasks and jobs that finished while draining. */
  completed: number
  /** What was still unfinished past the deadline, by name. */
  unfinished: Unfinished[]
  /** From the call until nothing accepted was left. */
  durationMs: number
}

export interface Lifecycle {
  readonly phase: Phase
  /** True between the end of boot and the call of shutdown() or close(). */
  readonly ready: boolean
  /**
   * Drains and closes the app. Idempotent: the first call's reason holds, later ones get the same promise.
   * Never rejects because of unfinished work: read the report. Rejects if an onClose hook fails.
   *
   * In a request (known through the ambient request) its promise resolves when all others have drained, before the app closes, so
   * that the answer can be sent. Awaited in a task, it waits for that task: until the deadline, which then reports it.
   */
  shutdown (reason?: string): Promise<ShutdownReport>
  /**
   * Runs `hook` when requests drain: end the stream or socket there. Returns the function that takes it back.
   * An error in it is logged, and stops nothing.
   */
  onShutdown (hook: ShutdownHook): () => void
}

/** How often the requests in flight are looked through during a drain, in ms. */
const SWEEP = 50

const plugin: FastifyPluginAsync<LifecycleOptions> = async (app, opts) => {
  const options = resolveOptions(opts)
  ensure(!app.hasRequestDecorator(kEntry), 'lifecycle', 'lifecycle to be registered once (the suite registers it too)', 'a second registration')
  await app.register(refusalLog)
  const inFlight = createInFlight(app, { timeout: options.timeout, grace: options.grace, now: monotonic.now })
  const shutdownHooks = createShutdownHooks(monotonic.now, (err) => logSafely(app.log, 'error', { err }, 'a shutdown hook failed'))
  const connections = connectionsOf(app.server)
  const closing = createTimers()
  const listenSettled = watchListening(app, monotonic.now)
  const log = quietly(app)
  drainablesOf(app).add(shutdownHooks).add(inFlight)

  let phase: Phase = 'serving'
  let booted = false
  let reason = 'close'
  let deadlineAt = Infinity
  let endDelay = (): void => {}

  function enter (next: Phase): void {
    const before = phase
    phase = later(phase, next)
    if (phase === before) return
    if (isStopping(phase)) inFlight.windDown(isAlways)
    log('debug', { phase, reason, inFlight: inFlight.pending }, `shutdown: ${phase}`)
    phaseEntered.publish({ server: app.server, phase, reason })
  }

  /** Nobody tells when what a client left behind has outlived its time, or when a request in flight has become an event stream. */
  function sweep (timers: Timers, byClose: boolean): void {
    inFlight.sweep()
    // Shutdown hooks of the application come first.
    if (phase !== 'leaving' && shutdownHooks.pending === 0) {
      inFlight.endEventStreams()
      // In a close(), the plugin's own preClose hook follows, with the words that it was given.
      if (!byClose) connections.closeWebSockets()
    }
    timers.after(SWEEP, () => sweep(timers, byClose))
  }

  async function drainAll (delay: number, byClose: boolean): Promise<ShutdownReport> {
    const startedAt = monotonic.now()
    deadlineAt = startedAt + options.timeout
    const timers = createTimers()
    const unwatch = watchExit(() => reportExit(startedAt))
    try {
      if (delay > 0) {
        enter('leaving')
        await new Promise<void>((resolve) => {
          endDelay = resolve
          timers.after(delay, resolve)
        })
      }
      const draining = drain(drainablesOf(app), {
        deadline: timers.wait(deadlineAt - monotonic.now()),
        grace: options.grace,
        enter,
        onError: (err, { name }) => log('error', { err, drainable: name }, `could not drain ${name}`)
      })
      sweep(timers, byClose)
      const { completed, unfinished } = await draining
      // The last shutdown hook may have ended the drain at once.
      if (!byClose) connections.closeWebSockets()
      const report = { reason, completed, unfinished, durationMs: Math.round(monotonic.now() - startedAt) }
      log(unfinished.length === 0 ? 'info' : 'error', { shutdown: report }, `shutdown: ${completed} completed, ${unfinished.length} unfinished in ${report.durationMs} ms`)
      drainedChannel.publish({ server: app.server, report })
      return report
    } finally {
      timers.clear()
      unwatch()
    }
  }

  /** What the process leaves unfinished when it ends in the middle of a drain. */
  function reportExit (startedAt: number): void {
    const unfinished = [...drainablesOf(app)].flatMap((drainable) => [...drainable.held?.() ?? [], ...drainable.lost?.() ?? []])
    if (unfinished.length === 0) return
    const durationMs = Math.round(monotonic.now() - startedAt)
    log('error', { shutdown: { reason, unfinished, durationMs } },
      `shutdown: the process was ended after ${durationMs} ms, with ${unfinished.length} unfinished. A shutdown may take ${options.timeout + options.grace} ms: ` +
      'what handles the signals must wait longer (close-with-grace: delay; fastify-cli: --close-grace-delay)')
  }

  const drainOnce = once(drainAll)
  const stop = once(async (): Promise<ShutdownReport> => {
    const report = await drainOnce(options.delay, false)
    const timers = createTimers()
    try {
      // What close() may still wait for is bounded by cutting connections (below); what onClose hooks do isn't ours to cut.
      const closed = await Promise.race([app.close().then(() => true), timers.wait(remaining() + options.grace).then(() => false)])
      if (!closed) log('warn', {}, 'shutdown: an onClose hook has not finished in time; not waiting any longer')
    } finally {
      timers.clear()
    }
    return report
  })

  /** For what the drain doesn't wait for: the rest of the budget, at least the grace. */
  const remaining = (): number => Math.max(deadlineAt - monotonic.now(), options.grace)

  app.decorate('lifecycle', {
    get phase () { return phase },
    get ready () { return booted && isReady(phase) },
    shutdown (why = 'shutdown') {
      if (!drainOnce.started) reason = why
      const request = currentRequest()
      const inRequest = request !== undefined && inFlight.has(request)
      // An onReady hook that awaits the close, which awaits that hook, would wait for ever.
      if (!inRequest && !runsReadyHooks(app)) return stop()
      if (inRequest) inFlight.release(request)
      stop().catch((err: unknown) => log('error', { err }, 'shutdown: closing failed'))
      return drainOnce(options.delay, false)
    },
    onShutdown: (hook) => shutdownHooks.add(fn<ShutdownHook>('onShutdown', hook))
  })

  addGate(app, inFlight, () => phase, serverOption(app, 'return503OnClosing') !== false)
  addProbes(app, options)

  app.addHook('onReady', async () => { booted = true })

  // A close() during boot doesn't keep Fastify from listening afterwards, for ever.
  app.addHook('onListen', (done) => {
    if (later(phase, 'closing') === phase) app.server.close()
    done()
  })

  app.addHook('preClose', async () => {
    // Fastify refuses every request from here on: nobody is served by waiting.
    endDelay()
    // Who asks Fastify to cut connections when it closes doesn't wait for requests. shutdown() finishes them first.
    const cuts = !drainOnce.started && app.initialConfig.forceCloseConnections === true
    if (cuts) {
      inFlight.drop()
      connections.destroy()
    }
    await drainOnce(0, true)
    await listenSettled()
    enter('closing')
    connections.close()
    inFlight.endEventStreams()
    // Those that have no preClose hook to close them.
    closing.after(SWEEP, () => connections.closeWebSockets())
    // A stream that answers to the end, a request of which only half the headers came: Fastify would wait for them.
    closing.after(remaining(), () => {
      inFlight.cut()
      connections.destroy()
    })
  })

  app.addHook('onClose', async () => {
    // Fastify doesn't wait for its second server.
    await connections.ended()
    closing.clear()
    enter('closed')
  })
}

type Log = (level: 'debug' | 'info' | 'warn' | 'error', fields: object, message: string) => void

/** A log stream that was destroyed throws. The shutdown goes on. */
function quietly (app: FastifyInstance): Log {
  return (level, fields, message) => {
    try {
      app.log[level](fields, message)
    } catch {}
  }
}

export default fp(plugin, { name: 'fastify-concurrency/lifecycle', fastify: '5.x' })
