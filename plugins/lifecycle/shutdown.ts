/**
 * The shutdown of an application, from the call of shutdown() or close() until the app is closed: boot, delay, drain, close. The drain finishes
 * what was accepted, within a deadline; the close is Fastify's, with every connection that holds it up cut in time.
 *
 * A bare `app.close()` gets the same drain from its preClose hook, except for two things that Fastify's order makes impossible: there is no delay, and from the first moment on
 * Fastify answers every new request, liveness included, with its own 503.
 */
import type { FastifyInstance } from 'fastify'
import { currentRequest } from '../cancellation/index.ts'
import { drainablesOf } from '../shared/drainables.ts'
import { endpointsOf } from '../shared/http/endpoints.ts'
import { logSafely, type LogLevel } from '../shared/log.ts'
import { drained as drainedChannel, phaseEntered } from './channels.ts'
import { createCloseApp } from './close/close-app.ts'
import { watchListening } from './close/listening.ts'
import { drain, type ShutdownReport } from './drain.ts'
import type { Guard } from './guard.ts'
import type { ResolvedLifecycleOptions } from './options.ts'
import { isStopping, later, type Phase } from './phases.ts'
import { connectionsOf } from './requests/connections.ts'
import { runsReadyHooks } from './requests/contexts.ts'
import type { InFlight } from './requests/requests.ts'
import { createReportLog } from './report-log.ts'
import type { ShutdownHooks } from './shutdown-hooks.ts'
import { Timers } from './timers.ts'

/** How often the requests in flight are looked through during a drain, in ms. */
const SWEEP_INTERVAL_MS = 50

/** The parts of `grace`: what is given up ends by itself, then is ended by force. The rest is for Fastify's close, so that the whole ends in time. */
const SELF_SHARE = 1 / 2
const FORCE_SHARE = 1 / 4
const CLOSE_SHARE = 1 - SELF_SHARE - FORCE_SHARE

export function createShutdown (
  app: FastifyInstance, options: ResolvedLifecycleOptions, inFlight: InFlight, hooks: ShutdownHooks, guard: Guard
) {
  const connections = connectionsOf(app.server, guard)
  const reportLog = createReportLog(app, options, guard)
  const closeApp = createCloseApp(app)
  const listenSettled = watchListening(app)
  /** The timers of the close; the drain has its own. */
  const closing = new Timers()
  const log = (level: LogLevel, fields: object, message: string): void => logSafely(app.log, level, { ...fields }, message)

  let phase: Phase = 'serving'
  let hasBooted = false
  let reason = 'close'
  let deadlineAt = Infinity
  let hurry = (): void => {}
  /** Ends the waits for the boot and for the delay early, when no client gains from them. */
  const hurried = new Promise<void>((resolve) => { hurry = resolve })

  function enter (next: Phase): void {
    const before = phase
    phase = later(phase, next)
    if (phase === before) return
    if (isStopping(phase)) guard('keep-alive of requests', () => inFlight.disableKeepAlive())
    log('debug', { phase, reason, inFlight: inFlight.pending }, `shutdown: ${phase}`)
    phaseEntered.publish({ server: app.server, phase, reason })
  }

  /** Looks through the requests in flight again and again: no event tells when one has outlived its time, or has become an event stream. */
  function sweep (timers: Timers, byClose: boolean): void {
    guard('sweep of requests', () => inFlight.sweep())
    // Shutdown hooks of the application come first.
    if (phase !== 'leaving' && hooks.pending === 0) {
      // A stream that is always answered shows the shutdown until the app closes.
      guard('end of event streams', () => inFlight.endEventStreams(false))
      // In a close(), the preClose hook of the plugin that serves the WebSockets follows, and closes them with its own code and reason.
      if (!byClose) connections.closeWebSockets()
    }
    timers.after(SWEEP_INTERVAL_MS, () => sweep(timers, byClose))
  }

  /** shutdown() itself closes the app, after its drain. */
  let isClosing = false
  let draining: Promise<ShutdownReport> | undefined
  let stopping: Promise<ShutdownReport> | undefined

  /** Returns the same promise to all callers. It exists before the drain begins, for a listener of its channels that calls shutdown(). */
  function drainOnce (byClose: boolean): Promise<ShutdownReport> {
    if (draining !== undefined) return draining
    let begin = (): void => {}
    draining = new Promise((resolve) => { begin = () => resolve(drainAll(byClose)) })
    begin()
    return draining
  }

  async function drainAll (byClose: boolean): Promise<ShutdownReport> {
    deadlineAt = performance.now() + options.timeout
    const timers = new Timers()
    reportLog.begin(reason)
    try {
      if (!byClose) await bootAndDelay(timers)
      const drained = drain(drainablesOf(app), {
        deadline: timers.wait(deadlineAt - performance.now()),
        grace: options.grace * SELF_SHARE,
        force: options.grace * FORCE_SHARE,
        enter,
        onError: (err, { name }) => log('error', { err, drainable: name }, `could not drain ${name}`)
      })
      sweep(timers, byClose)
      const report = reportLog.drained(await drained)
      // The last shutdown hook may have ended the drain at once.
      if (!byClose) connections.closeWebSockets()
      drainedChannel.publish({ server: app.server, report })
      return report
    } finally {
      timers.clear()
    }
  }

  /** Waits for the end of the boot, then serves on for the delay. Both end at the deadline. */
  async function bootAndDelay (timers: Timers): Promise<void> {
    if (!hasBooted && !runsReadyHooks(app)) {
      const booted = app.ready().then(() => {}, () => {})
      await Promise.race([booted, hurried, timers.wait(options.timeout)])
    }
    // A worker has only a port for operators, so no load balancer sends requests to it. During a delay it would take more stored tasks.
    const hasClients = app.server.listening || endpointsOf(app) === undefined
    if (options.delay === 0 || !hasClients) return
    enter('leaving')
    await Promise.race([hurried, timers.wait(options.delay)])
  }

  async function drainAndClose (): Promise<ShutdownReport> {
    await drainOnce(false)
    isClosing = true
    // Connections that close() waits for are cut (below). A hook of the application can't be cut.
    const hanging = await closeApp(remaining())
    if (hanging !== undefined) {
      log('error', { hook: hanging }, `shutdown: a hook of the application (${hanging.name}) has not finished in ${hanging.ageMs} ms, and is waited for no longer`)
    }
    return reportLog.closed(hanging)
  }

  /** Names the remedy when other code closes the app, in place of shutdown() or in the middle of it: it usually has a handler of signals of its own. */
  function warnOfClose (): void {
    const isEarly = draining === undefined ? options.delay > 0 : !isClosing
    if (!isEarly || !app.server.listening) return
    log('warn', { phase, delay: options.delay },
      `shutdown: app.close() was called ${draining === undefined ? 'in place of' : 'in the middle of'} app.lifecycle.shutdown(). Fastify answers every new request with 503 from now on, ` +
      'those of probes too, and the delay has ended. What is in flight is finished. If this is not intended, let app.lifecycle.shutdown() be called by the only handler of signals. ' +
      'Apollo Server: stopOnTerminationSignals: false; NestJS: no enableShutdownHooks(); fastify-cli: start the service with node')
  }

  /** Closes connections that owe nothing again and again: more may come until the server has stopped listening. */
  function closeSilent (): void {
    guard('close of silent connections', () => connections.closeSilent())
    closing.after(SWEEP_INTERVAL_MS, closeSilent)
  }

  /** Returns the time that is left for the close. An event loop that stands still may have used up all of it. */
  const remaining = (): number => Math.max(deadlineAt + options.grace - performance.now(), options.grace * CLOSE_SHARE)

  return {
    get phase (): Phase { return phase },
    get ready (): boolean { return hasBooted && draining === undefined && !isStopping(phase) },

    /** Drains and closes the app; see Lifecycle.shutdown(). */
    start (why = 'shutdown'): Promise<ShutdownReport> {
      if (draining === undefined) reason = why
      const request = currentRequest()
      const isInRequest = request !== undefined && inFlight.has(request)
      const isInBoot = runsReadyHooks(app)
      if (isInRequest) inFlight.release(request)
      // An onReady hook that awaited the boot or the close would wait for ever, since each of them awaits that hook.
      if (isInBoot) hurry()
      stopping ??= drainAndClose()
      if (!isInRequest && !isInBoot) return stopping
      stopping.catch((err: unknown) => log('error', { err }, 'shutdown: closing failed'))
      return drainOnce(false)
    },

    // The hooks of the app call the methods below.

    onReady (): void { hasBooted = true },

    async preClose (): Promise<void> {
      warnOfClose()
      // Fastify refuses every request from here on, so waiting serves no client.
      hurry()
      // With forceCloseConnections a bare close() waits for no requests. shutdown() finishes them first.
      if (draining === undefined && app.initialConfig.forceCloseConnections === true) {
        inFlight.drop()
        connections.destroy()
      }
      await drainOnce(true)
      await listenSettled()
      enter('closing')
      connections.close()
      closeSilent()
      guard('end of event streams', () => inFlight.endEventStreams(true))
      // WebSockets that no preClose hook has closed.
      closing.after(SWEEP_INTERVAL_MS, () => connections.closeWebSockets())
      // Fastify's close() waits for endless responses and for half-sent requests, so their connections are cut. The onClose hooks follow.
      closing.after(Math.max(deadlineAt - performance.now(), remaining() / 2), () => {
        inFlight.cut()
        connections.destroy()
      })
    },

    async onClose (): Promise<void> {
      // Fastify doesn't wait for its second server.
      await connections.ended()
      closing.clear()
      enter('closed')
      reportLog.closed()
    }
  }
}
