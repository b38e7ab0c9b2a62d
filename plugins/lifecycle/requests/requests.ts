/**
 * The requests in flight, as a drainable. One rule: a request is in flight until its response has ended, or its client has left, AND
 * nothing of it runs any more: the hooks before its handler, the handler, error handlers, onResponse hooks.
 *
 * Neither condition is enough by itself. When a client leaves, the response ends at once while the handler may be in the middle of a write; a hijacked
 * reply or a stream goes on long after its handler.
 *
 * What still runs after the client has left is waited for only so long: a promise that never settles must not hold up each shutdown.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { abortRequest } from '../../cancellation/request-end.ts'
import { DenseSet } from '../../shared/collections/dense-set.ts'
import { IdleWaiters, type Unfinished } from '../../shared/drainables.ts'
import { ClosingError } from '../../shared/errors.ts'
import { kRequestWork } from '../../shared/http/request-work.ts'
import { onClosed } from '../../shared/http/sockets.ts'
import { within } from '../../shared/within.ts'
import type { Guard } from '../guard.ts'
import type { ResolvedLifecycleOptions } from '../options.ts'
import { observe } from './contexts.ts'
import { OpenRequest } from './open-request.ts'
import { endEventStream } from './event-streams.ts'
import { disableKeepAlive } from './keep-alive.ts'

export type InFlight = ReturnType<typeof createInFlight>

/** Tells whether a route is answered until the app closes. */
export function isAlways (request: FastifyRequest): boolean {
  return request.routeOptions.config?.lifecycle === 'always'
}

const entryOf = (request: FastifyRequest): OpenRequest | null | undefined => request[kRequestWork] as OpenRequest | null | undefined

/** How often the entries whose client has left are looked through, in ms, while there are any. */
const SWEEP_PERIOD_MS = 1_000

/**
 * Creates the requests in flight of an app, and decorates its requests. A drain waits for a handler whose client has
 * left for `timeout`, and for `grace` if the handler may have ended unnoticed: it returned no promise and has not
 * answered. A request of inject(), which has no client that could leave, is waited for only for `grace`, too, once a
 * drain has begun.
 */
export function createInFlight (app: FastifyInstance, { timeout, grace }: ResolvedLifecycleOptions, guard: Guard) {
  app.decorateRequest(kRequestWork, null)
  const open = new DenseSet<OpenRequest>()
  /** Entries whose client has left while something of them may run. */
  const left = new Set<OpenRequest>()
  let isSweeping = false
  const idle = new IdleWaiters()
  let awaited = 0
  let completed = 0
  let draining = false
  /** The time until which a drain waits for a request that may never be answered. */
  let strayUntil = Infinity
  let givingUp = false
  const lost: Unfinished[] = []

  function close (entry: OpenRequest): void {
    if (!entry.open) return
    entry.close(performance.now())
    open.delete(entry)
    if (!entry.busy) return end(entry)
    left.add(entry)
    sweepLater()
  }

  /** What waits for the end of an entry, such as the permit of a bound, isn't held for ever by a handler that never answers. */
  function sweepLater (): void {
    if (isSweeping || left.size === 0) return
    isSweeping = true
    setTimeout(() => {
      isSweeping = false
      if (!givingUp) sweepLeft()
      sweepLater()
    }, SWEEP_PERIOD_MS).unref()
  }

  function settle (entry: OpenRequest): void {
    if (!entry.busy && left.delete(entry)) end(entry)
  }

  function end (entry: OpenRequest): void {
    // Past the deadline an error tells the client that what it waited for was given up.
    if (entry.awaited && !entry.lost && !(givingUp && entry.failed)) completed++
    forget(entry)
  }

  /** Gives up what has outlived its time since its client left. */
  function sweepLeft (): void {
    const time = performance.now()
    for (const entry of left) {
      if (time < entry.closedAt + (entry.runs ? timeout : grace)) continue
      left.delete(entry)
      // Work that a shutdown waited for and gave up is reported. Before a shutdown nobody waits for it.
      if (draining && entry.awaited && !entry.lost && entry.running > 0) lost.push(entry.describe(time))
      forget(entry)
    }
  }

  function forget (entry: OpenRequest): void {
    entry.finish()
    unawait(entry)
  }

  function unawait (entry: OpenRequest): void {
    if (!entry.awaited) return
    entry.awaited = false
    if (--awaited > 0) return
    idle.wake()
  }

  function held (): OpenRequest[] {
    if (!draining) sweepLeft()
    return [...open.all(), ...left].filter(({ awaited }) => awaited).sort((a, b) => a.since - b.since)
  }

  const inFlight = {
    name: 'requests',
    phase: 'requests' as const,
    get completed (): number { return completed },
    get pending (): number {
      if (!draining) sweepLeft()
      return awaited
    },

    enter (request: FastifyRequest, reply: FastifyReply): void {
      const entry = new OpenRequest(reply, performance.now(), settle)
      open.add(entry)
      request[kRequestWork] = entry
      awaited++
      observe(request)
      onClosed(reply, () => close(entry))
    },

    has (request: FastifyRequest): boolean {
      const entry = entryOf(request)
      return entry != null && (entry.open || left.has(entry))
    },

    /** The request isn't waited for, and isn't lost if it outlives the shutdown. */
    release (request: FastifyRequest): void {
      const entry = entryOf(request)
      if (entry != null) unawait(entry)
    },

    /** Stops waiting for requests that are always answered, and tells each client that its connection ends. */
    disableKeepAlive (): void {
      for (const entry of open.all()) {
        const { reply } = entry
        if (reply === undefined) continue
        guard('keep-alive of a request', () => disableKeepAlive(reply))
        if (isAlways(reply.request)) unawait(entry)
      }
    },

    /**
     * Gives up what has outlived its time after its client left, upgraded connections, which belong to the code that
     * upgraded them, and requests of inject() that nothing seems to run for.
     */
    sweep (): void {
      // Past the deadline all that is left is reported.
      if (!givingUp) sweepLeft()
      for (const entry of open.all()) {
        guard('state of a request', () => {
          if (entry.isUpgraded || (performance.now() >= strayUntil && entry.isStrayInjection)) forget(entry)
        })
      }
    },

    /** Ends the event streams of browsers; those of routes that are always answered only if `all` is true. */
    endEventStreams (all: boolean): void {
      const entries = [...open.all()]
      // A connection sends its responses in order, so a response that is awaited ends the stream ahead of it.
      const behind = new Set(entries.map((entry) => entry.awaited ? entry.queuedOn : undefined))
      for (const { reply, awaited, connection } of entries) {
        if (reply === undefined) continue
        const isAhead = connection !== undefined && behind.has(connection)
        if (all || awaited || isAhead) guard('end of an event stream', () => endEventStream(reply, isAhead))
      }
    },

    /** Cuts every connection that still has a request on it. */
    cut (): void {
      for (const { reply } of open.all()) guard('end of a response', () => { reply?.raw.destroy() })
    },

    /** Cuts these connections and stops waiting for their requests. */
    drop (): void {
      for (const entry of [...open.all(), ...left]) forget(entry)
      inFlight.cut()
    },

    // New requests are refused by the gate.
    close (): void {
      // Called again past the deadline, when all that is left is reported.
      if (draining) return
      inFlight.sweep()
      draining = true
      strayUntil = performance.now() + grace
    },

    idle: (): Promise<void> => idle.wait(awaited),

    held: (): Unfinished[] => held().map((entry) => entry.describe(performance.now())),

    lost: (): Unfinished[] => lost,

    async giveUp (grace: number): Promise<Unfinished[]> {
      givingUp = true
      // Jobs and tasks are given up in the same turn: a request that waits for one rejects with that error, which says more.
      await Promise.resolve()
      for (const { reply, awaited } of open.all()) {
        // Each request has an error of its own: an error handler that adds a client's data to it must not show the data to others.
        if (!awaited || reply === undefined) continue
        guard('abort of a request', () => abortRequest(reply.request, new ClosingError('The service', true)))
      }
      await within(grace, inFlight.idle())
      const unfinished = held()
      for (const entry of unfinished) entry.lost = true
      const report = unfinished.map((entry) => entry.describe(performance.now()))
      // What nobody waits for is cut when the app closes: a dashboard first hears of the end.
      for (const { reply } of unfinished) guard('end of a response', () => { reply?.raw.destroy() })
      return report
    }
  }
  return inFlight
}
