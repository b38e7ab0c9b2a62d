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
import { monotonic } from '../clock.ts'
import { drainablesOf, type Abandoned } from '../drainables.ts'
import { drained as drainedChannel, phaseEntered } from './channels.ts'
import { connectionsOf } from './connections.ts'
import { drain } from './drain.ts'
import { addGate, isAlways } from './gate.ts'
import { createGoodbyes, type Goodbye } from './goodbyes.ts'
import { resolveOptions, type LifecycleOptions } from './options.ts'
import { isReady, isStopping, later, type Phase } from './phases.ts'
import { addProbes } from './probes.ts'
import { createInFlight } from './requests.ts'
import { createTimers } from './timers.ts'

export type { Abandoned } from '../drainables.ts'
export type { Goodbye } from './goodbyes.ts'
export type { LifecycleOptions } from './options.ts'
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
  abandoned: Abandoned[]
  /** From the call until nothing accepted was left. */
  durationMs: number
}

export interface Lifecycle {
  readonly phase: Phase
  /** True between the end of boot and the call of shutdown() or close(). */
  readonly ready: boolean
  /**
   * Drains and closes the app. Idempotent: the first call's reason holds, later ones get the same promise.
   * Never rejects because of abandoned work: read the report. Rejects if an onClose hook fails.
   *
   * In a request (known through the ambient request) its promise resolves when all others have drained, before the app closes, so
   * that the answer can be sent. Awaited in a task, it waits for that task: until the deadline, which then reports it.
   */
  shutdown (reason?: string): Promise<ShutdownReport>
  /**
   * Runs `goodbye` when requests drain: end the stream or socket there. Returns the function that takes it back.
   * An error in it is logged, and stops nothing.
   */
  onGoodbye (goodbye: Goodbye): () => void
}

const plugin: FastifyPluginAsync<LifecycleOptions> = async (app, opts) => {
  const options = resolveOptions(opts)
  const inFlight = createInFlight(app, monotonic.now)
  const goodbyes = createGoodbyes((err) => app.log.error({ err }, 'a goodbye failed'))
  const connections = connectionsOf(app.server)
  const closing = createTimers()
  drainablesOf(app).add(goodbyes).add(inFlight)

  let phase: Phase = 'serving'
  let booted = false
  let reason = 'close'
  let drainStarted: Promise<ShutdownReport> | undefined
  let shutdownStarted: Promise<ShutdownReport> | undefined
  let deadlineAt = Infinity
  let endDelay = (): void => {}

  function enter (next: Phase): void {
    const before = phase
    phase = later(phase, next)
    if (phase === before) return
    if (isStopping(phase)) inFlight.windDown(isAlways)
    app.log.debug({ phase, reason, inFlight: inFlight.pending }, 'shutdown: %s', phase)
    phaseEntered.publish({ server: app.server, phase, reason })
  }

  async function drainAll (delay: number): Promise<ShutdownReport> {
    const startedAt = monotonic.now()
    deadlineAt = startedAt + options.timeout
    const timers = createTimers()
    try {
      if (delay > 0) {
        enter('leaving')
        await new Promise<void>((resolve) => {
          endDelay = resolve
          timers.after(delay, resolve)
        })
      }
      const { completed, abandoned } = await drain(drainablesOf(app), {
        deadline: timers.wait(deadlineAt - monotonic.now()),
        grace: options.grace,
        enter,
        onError: (err, { name }) => app.log.error({ err, drainable: name }, 'could not drain %s', name)
      })
      const report = { reason, completed, abandoned, durationMs: Math.round(monotonic.now() - startedAt) }
      log(app, report)
      drainedChannel.publish({ server: app.server, report })
      return report
    } finally {
      timers.clear()
    }
  }

  async function stop (): Promise<ShutdownReport> {
    drainStarted ??= drainAll(options.delay)
    const report = await drainStarted
    const timers = createTimers()
    try {
      // What close() may still wait for is bounded by cutting connections (below); what onClose hooks do isn't ours to cut.
      const closed = await Promise.race([app.close().then(() => true), timers.wait(remaining() + options.grace).then(() => false)])
      if (!closed) app.log.warn('shutdown: an onClose hook has not finished in time; not waiting any longer')
    } finally {
      timers.clear()
    }
    return report
  }

  /** For what the drain doesn't wait for: the rest of the budget, at least the grace. */
  const remaining = (): number => Math.max(deadlineAt - monotonic.now(), options.grace)

  app.decorate('lifecycle', {
    get phase () { return phase },
    get ready () { return booted && isReady(phase) },
    shutdown (why = 'shutdown') {
      if (drainStarted === undefined) reason = why
      const request = currentRequest()
      if (request === undefined || !inFlight.has(request)) return (shutdownStarted ??= stop())
      inFlight.release(request)
      shutdownStarted ??= stop()
      shutdownStarted.catch((err: unknown) => app.log.error({ err }, 'shutdown: closing failed'))
      return drainStarted!
    },
    onGoodbye: (goodbye) => goodbyes.add(goodbye)
  })

  addGate(app, inFlight, () => phase)
  addProbes(app, options)

  app.addHook('onReady', async () => { booted = true })

  // A close() during boot doesn't keep Fastify from listening afterwards, for ever.
  app.addHook('onListen', async () => {
    if (later(phase, 'closing') === phase) app.server.close()
  })

  app.addHook('preClose', async () => {
    // Fastify refuses every request from here on: nobody is served by waiting.
    endDelay()
    drainStarted ??= drainAll(0)
    await drainStarted
    enter('closing')
    connections.close()
    // A stream that answers to the end, a request of which only half the headers came: Fastify would wait for them.
    closing.after(remaining(), () => {
      inFlight.cut()
      connections.destroy()
    })
  })

  app.addHook('onClose', async () => {
    closing.clear()
    enter('closed')
  })
}

function log (app: FastifyInstance, report: ShutdownReport): void {
  const { completed, abandoned, durationMs } = report
  const level = abandoned.length === 0 ? 'info' : 'error'
  app.log[level]({ shutdown: report }, 'shutdown: %d completed, %d abandoned in %d ms', completed, abandoned.length, durationMs)
}

export default fp(plugin, { name: 'fastify-concurrency/lifecycle', fastify: '5.x' })
