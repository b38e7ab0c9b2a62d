/**
 * The requests in flight, as a drainable: a request is held until its response has ended AND its handler has settled.
 *
 * Either alone is wrong. When a client leaves, the response ends at once while the handler may be in the middle of a
 * write; a hijacked reply or a stream goes on long after its handler. Fastify's onResponse hook doesn't fire for a client
 * that left, and its tracing channel says nothing of hijacked replies, so the handler's own promise is what we watch.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Abandoned, Drainable } from '../drainables.ts'

interface Entry {
  reply: FastifyReply
  since: number
  open: boolean
  handling: boolean
  /** Liveness probes, dashboards and whoever asked for the shutdown aren't waited for. */
  awaited: boolean
}

export interface InFlight extends Drainable {
  enter (request: FastifyRequest, reply: FastifyReply): void
  /** Its handler has returned a promise: the request is held until that settles as well. */
  handling (request: FastifyRequest, outcome: PromiseLike<unknown>): void
  has (request: FastifyRequest): boolean
  /** The request isn't waited for, and isn't lost if it outlives the shutdown. */
  release (request: FastifyRequest): void
  /** Stop waiting for those that answer to the end, and tell every client that its connection ends with the response. */
  windDown (isAlways: (request: FastifyRequest) => boolean): void
  /** Cut every connection that still has a request on it. */
  cut (): void
}

/** HTTP/2 has no Connection header: sessions are closed instead. */
export function tellToClose (reply: FastifyReply): void {
  if (reply.request.raw.httpVersionMajor === 1 && !reply.raw.headersSent) reply.raw.setHeader('connection', 'close')
}

export function createInFlight (now: () => number): InFlight {
  const entries = new Map<FastifyRequest, Entry>()
  let waiters: Array<() => void> = []
  let awaited = 0
  let completed = 0

  function check (request: FastifyRequest, entry: Entry): void {
    if (entry.open || entry.handling) return
    entries.delete(request)
    if (!entry.awaited) return
    completed++
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
      const entry: Entry = { reply, since: now(), open: true, handling: false, awaited: true }
      entries.set(request, entry)
      awaited++
      reply.raw.once('close', () => {
        entry.open = false
        check(request, entry)
      })
    },

    handling (request, outcome) {
      const entry = entries.get(request)
      if (entry === undefined) return
      entry.handling = true
      const settled = (): void => {
        entry.handling = false
        check(request, entry)
      }
      outcome.then(settled, settled)
    },

    has: (request) => entries.has(request),

    release (request) {
      const entry = entries.get(request)
      if (entry !== undefined) forget(entry)
    },

    windDown (isAlways) {
      for (const [request, entry] of entries) {
        tellToClose(entry.reply)
        if (isAlways(request)) forget(entry)
      }
    },

    cut () {
      for (const { reply } of entries.values()) reply.raw.destroy()
    },

    // The gate is a hook: see index.ts.
    close () {},

    idle: () => awaited === 0 ? Promise.resolve() : new Promise((resolve) => { waiters.push(resolve) }),

    held: () => [...entries].filter(([, entry]) => entry.awaited).map(([request, entry]): Abandoned => ({
      kind: 'request',
      name: `${request.method} ${request.routeOptions.url ?? request.url}`,
      id: request.id,
      ageMs: Math.round(now() - entry.since),
      attempt: 1
    })),

    // There is nothing to abort: what they wait for is abandoned at the same time, and answers them.
    // Cutting the connection is what aborts `request.disconnected`.
    async abandon (grace) {
      let timer: NodeJS.Timeout | undefined
      await Promise.race([inFlight.idle(), new Promise((resolve) => { timer = setTimeout(resolve, grace) })])
      clearTimeout(timer)
      const lost = inFlight.held?.() ?? []
      inFlight.cut()
      return lost
    }
  }
  return inFlight
}
