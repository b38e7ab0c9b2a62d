/**
 * The probes. Readiness tells a load balancer whether to send requests; liveness tells a supervisor whether to restart the process.
 *
 * However often the readiness probe is asked, each check of the application is called at most once a second. A check that hangs is aborted by its
 * signal and called again, ever later if it ignores the signal. So one half-open connection doesn't keep a service out of its load balancer for
 * good, and a database that never answers doesn't gather a pile of calls.
 */
import type { FastifyInstance } from 'fastify'
import { drainablesOf } from '../shared/drainables.ts'
import { endpointsOf, json, type EndpointAnswer } from '../shared/http/endpoints.ts'
import { hidden } from '../shared/http/internal-route.ts'
import { logSafely } from '../shared/log.ts'
import { within } from '../shared/within.ts'
import type { ReadyCheck, ResolvedLifecycleOptions } from './options.ts'
import { runsReadyHooks } from './requests/contexts.ts'

export function addProbes (app: FastifyInstance, { readyPath, livePath, ready: checks, readyTimeout }: ResolvedLifecycleOptions): void {
  // A probe every second must not fill the log, and a flood of requests must not make the process look dead. @fastify/under-pressure calls the
  // pressureHandler of a route in place of refusing its request; one that returns nothing lets the request pass.
  const config = { lifecycle: 'always', limiter: false, loop: false, pressureHandler: () => {} } as const
  const shared = { logLevel: 'warn', schema: hidden(), config } as const

  // Anybody may ask a probe, so the answer has names alone. The text of an error may hold an address, a query or a
  // password: it is for the log.
  const failedChecks = createReadyChecks(checks, readyTimeout, () => performance.now(), ({ name, error }) => {
    if (error === undefined) logSafely(app.log, 'info', { check: name }, 'a check of readiness passes again')
    else logSafely(app.log, 'warn', { check: name, error }, 'a check of readiness fails')
  })
  const ready = async (): Promise<EndpointAnswer> => {
    // The port for operators may open while the application's own onReady hooks still run.
    if (runsReadyHooks(app)) return json(503, { status: 'booting' })
    if (app.lifecycle.ready) {
      const failed = [...await failedChecks(), ...[...drainablesOf(app)].filter(({ isReady }) => isReady === false)]
      // A shutdown may have begun meanwhile.
      if (app.lifecycle.ready && failed.length === 0) return json(200, { status: 'ready' })
      if (app.lifecycle.ready) return json(503, { status: 'not ready', failed: failed.map(({ name }) => ({ name })) })
    }
    return json(503, { status: app.lifecycle.phase })
  }
  const live = async (): Promise<EndpointAnswer> => json(200, { status: 'live' })

  endpointsOf(app)?.set('/live', live).set('/ready', ready)
  for (const [path, endpoint] of [[readyPath, ready], [livePath, live]] as const) {
    if (path === false) continue
    app.get(path, shared, async (_request, reply) => {
      const { status, type, body } = await endpoint()
      return reply.code(status).type(type).send(body)
    })
  }
}

export interface FailedCheck {
  /** The function's name, or its place in the option. */
  name: string
  error: string
}

/** The time, in ms, for which the result of the checks is reused. */
const FRESH_MS = 1_000

/** The longest pause, in ms, between two calls of a check that hangs and ignores its signal. */
const MAX_PAUSE_MS = 30_000

type OnChange = (check: { name: string, error: string | undefined }) => void

/**
 * @param changed is called when a check begins to fail, fails with another text, or passes again
 * @returns a function that resolves to the checks that fail
 */
export function createReadyChecks (checks: readonly ReadyCheck[], timeout: number, now: () => number, changed: OnChange = () => {}): () => Promise<FailedCheck[]> {
  const asks = checks.map((check, index) => createAsk(check, check.name || `ready[${index}]`, timeout, now, changed))
  let answer: Promise<FailedCheck[]> = Promise.resolve([])
  let pending = false
  let askedAt = -Infinity

  async function ask (): Promise<FailedCheck[]> {
    pending = true
    try {
      return (await Promise.all(asks.map(async (each) => each()))).filter((failed) => failed !== undefined)
    } finally {
      pending = false
    }
  }

  return async () => {
    if (!pending && now() >= askedAt + FRESH_MS) {
      askedAt = now()
      answer = ask()
    }
    return answer
  }
}

/** A driver's error may quote a whole query. */
const LONGEST_TEXT = 1_000

function createAsk (
  check: ReadyCheck, name: string, timeout: number, now: () => number, changed: OnChange
): () => Promise<FailedCheck | undefined> {
  const late = `has not answered within ${timeout} ms`
  let last: string | undefined
  let pause = FRESH_MS
  let callAgainAt = -Infinity

  async function ask (): Promise<string | undefined> {
    const calledAt = now()
    if (calledAt < callAgainAt) return late
    const controller = new AbortController()
    let error: string | undefined
    // A check that settles at all, even late or because it was aborted, is called again with the next probe.
    const answered = failureOf(check, controller.signal).then((failure) => {
      error = failure
      pause = FRESH_MS
      callAgainAt = -Infinity
    })
    if (await within(timeout, answered)) return error
    callAgainAt = calledAt + pause
    pause = Math.min(2 * pause, MAX_PAUSE_MS)
    controller.abort(new DOMException(`The check ${late}`, 'TimeoutError'))
    return late
  }

  return async () => {
    const error = await ask()
    if (error !== last) changed({ name, error: last = error })
    return error === undefined ? undefined : { name, error }
  }
}

/** Resolves to undefined if the check passes. Never rejects. */
async function failureOf (check: ReadyCheck, signal: AbortSignal): Promise<string | undefined> {
  try {
    return await check(signal) === false ? 'returned false' : undefined
  } catch (thrown) {
    try {
      return (thrown instanceof Error && thrown.message !== '' ? String(thrown.message) : String(thrown)).slice(0, LONGEST_TEXT)
    } catch { // An object without a prototype, a proxy whose traps throw.
      return 'threw a value that cannot be read'
    }
  }
}
