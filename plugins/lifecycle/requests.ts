/**
 * The requests in flight, as a drainable: a request is held until its response has ended AND its handler has settled.
 *
 * Either alone is wrong. When a client leaves, the response ends at once while the handler may be in the middle of a
 * write, or a hook before it still be awaited; a hijacked reply or a stream goes on long after its handler. Fastify's onResponse
 * hook doesn't fire for a client that left, and its tracing channel says nothing of hijacked replies, so the handler's own promise
 * is what we watch.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Abandoned, Drainable } from '../drainables.ts'
import { LiveList, type Live } from '../live.ts'
import { createPipelines } from './pipelines.ts'

interface Entry extends Live {
  request: FastifyRequest
  reply: FastifyReply
  since: number
  open: boolean
  /** Hooks before the handler, or the handler itself, are at it. */
  busy: boolean
  handled: boolean
  /** Liveness probes, dashboards and whoever asked for the shutdown aren't waited for. */
  awaited: boolean
  /** Reported as abandoned: held as long as it runs, and never counted as completed. */
  lost: boolean
}

export interface InFlight extends Drainable {
  enter (request: FastifyRequest, reply: FastifyReply): void
  /** Its handler has returned. If that is a promise, the request is held until it settles as well. */
  handled (request: FastifyRequest, outcome: unknown): void
  /** It is being answered, if by a hook before the handler: then that isn't called any more. */
  answered (request: FastifyRequest): void
  has (request: FastifyRequest): boolean
  /** The request isn't waited for, and isn't lost if it outlives the shutdown. */
  release (request: FastifyRequest): void
  /** Tell its client that the connection ends with the response. */
  tellToClose (reply: FastifyReply): void
  /** Stop waiting for those that answer to the end, and tell every client that its connection ends with the response. */
  windDown (isAlways: (request: FastifyRequest) => boolean): void
  /** Cut every connection that still has a request on it. */
  cut (): void
}

const kEntry = Symbol('fastify-concurrency.inFlight')

/** Null before it has entered and after it has left. */
interface Entered {
  [kEntry]: Entry | null
}

/** Decorates requests. */
export function createInFlight (app: FastifyInstance, now: () => number): InFlight {
  app.decorateRequest(kEntry, null)
  const entries = new LiveList<Entry>()
  const entryOf = (request: FastifyRequest): Entry | null => (request as unknown as Entered)[kEntry]
  const setEntry = (request: FastifyRequest, entry: Entry | null): void => { (request as unknown as Entered)[kEntry] = entry }
  const { onClose, tellToClose } = createPipelines()
  let waiters: Array<() => void> = []
  let awaited = 0
  let completed = 0
  let abandoning = false

  function check (entry: Entry): void {
    if (entry.open || entry.busy) return
    entries.delete(entry)
    setEntry(entry.request, null)
    if (!entry.awaited) return
    // Past the deadline an error tells the client that what it waited for was abandoned.
    if (!entry.lost && !(abandoning && entry.reply.statusCode >= 499)) completed++
    forget(entry)
  }

  function forget (entry: Entry): void {
    if (!entry.awaited) return
    entry.awaited = false
    if (--awaited > 0) return
    for (const resolve of waiters) resolve()
    waiters = []
  }

  const inFlight: InFlight = {
    name: 'requests',
    phase: 'requests',
    get completed () { return completed },
    get pending () { return awaited },

    enter (request, reply) {
      const entry: Entry = { request, reply, since: now(), open: true, busy: true, handled: false, awaited: true, lost: false, liveAt: -1 }
      entries.add(entry)
      setEntry(request, entry)
      awaited++
      onClose(request, reply, () => {
        entry.open = false
        // Answered or hijacked by a hook.
        if (!entry.handled && reply.sent) entry.busy = false
        check(entry)
      })
    },

    handled (request, outcome) {
      const entry = entryOf(request)
      if (entry === null) return
      entry.handled = true
      const settled = (): void => {
        entry.busy = false
        check(entry)
      }
      if (isThenable(outcome)) outcome.then(settled, settled)
      else settled()
    },

    answered (request) {
      const entry = entryOf(request)
      if (entry === null || entry.handled) return
      entry.busy = false
      check(entry)
    },

    tellToClose,

    has: (request) => entryOf(request) !== null,

    release (request) {
      const entry = entryOf(request)
      if (entry !== null) forget(entry)
    },

    windDown (isAlways) {
      for (const entry of entries.all()) {
        tellToClose(entry.reply)
        if (isAlways(entry.request)) forget(entry)
      }
    },

    cut () {
      for (const { reply } of entries.all()) reply.raw.destroy()
    },

    // The gate is a hook: see index.ts.
    close () {},

    idle: () => awaited === 0 ? Promise.resolve() : new Promise((resolve) => { waiters.push(resolve) }),

    held: () => entries.all().filter(({ awaited }) => awaited).sort((a, b) => a.since - b.since).map(({ request, since }): Abandoned => ({
      kind: 'request',
      name: `${request.method} ${request.routeOptions.url ?? request.url}`,
      id: request.id,
      ageMs: Math.round(now() - since),
      attempt: 1
    })),

    // There is nothing to abort: what they wait for is abandoned at the same time, and answers them.
    // Cutting the connection is what aborts `request.disconnected`.
    async abandon (grace) {
      abandoning = true
      let timer: NodeJS.Timeout | undefined
      await Promise.race([inFlight.idle(), new Promise((resolve) => { timer = setTimeout(resolve, grace) })])
      clearTimeout(timer)
      const lost = inFlight.held?.() ?? []
      for (const entry of entries.all()) entry.lost = true
      inFlight.cut()
      return lost
    }
  }
  return inFlight
}

function isThenable (value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}
