import * as check from '../shared/options.ts'

/**
 * Tells whether something that the service needs is there. A check fails if it throws, rejects, returns `false` or takes longer
 * than `readyTimeout`; then `signal` aborts. A check that hangs without heeding the signal is called again ever later, up to 30 s apart.
 */
export type ReadyCheck = (signal: AbortSignal) => unknown

/** The options of the shutdown. */
export interface LifecycleOptions {
  /**
   * How long to serve on after readiness has turned false, in ms. Set it longer than your load balancer takes to notice: otherwise requests
   * that it still sends here are refused. The delay is part of `timeout`, and less than `timeout`.
   * An app that has a port of `operate` and doesn't listen skips the delay: it has no clients.
   * @default 0
   */
  delay?: number
  /**
   * How long a shutdown may take, in ms, before what is left is given up. `Infinity`: as long as it takes. The default fits, with `grace`, into
   * the 10 s after which close-with-grace ends the process. Keep its `delay` above `timeout` + `grace`. A handler whose client has left is also
   * waited for only this long.
   * @default 8_000
   */
  timeout?: number
  /**
   * How long a shutdown may take after `timeout`, in ms. Work that is given up has half of it to end by itself, a quarter to be ended by force,
   * and the hooks of Fastify's close the rest.
   * @default 1_000
   */
  grace?: number
  /**
   * The path of the readiness probe: 200, or 503 once the service is stopping or a check of `ready` fails. A process
   * that consumes stored tasks answers 503 until it has first reached Redis. `false`: no route.
   * @default false
   */
  readyPath?: string | false
  /**
   * The path of the liveness probe: 200 until the app closes. `false`: no route.
   * @default false
   */
  livePath?: string | false
  /**
   * Checks of what the service needs: `[async (signal) => db.ping({ signal })]`. The probe at `readyPath` calls all checks at the same time, at
   * most once a second, and names the checks that fail in the body of its 503; the log has their errors. A check has the name of its function.
   * @default []
   */
  ready?: readonly ReadyCheck[]
  /**
   * How long a check of `ready` may take, in ms. Keep it below the timeout of the probe, which would otherwise not see the answer.
   * @default 500
   */
  readyTimeout?: number
}

export type ResolvedLifecycleOptions = Required<LifecycleOptions>

/** @internal Every option, for the test that compares them with the docs. */
export const lifecycleOptionNames = ['delay', 'timeout', 'grace', 'readyPath', 'livePath', 'ready', 'readyTimeout'] as const satisfies ReadonlyArray<keyof LifecycleOptions>

/** @param isAsked whether a port for operators asks the checks, too */
export function resolveOptions (options: LifecycleOptions, isAsked = false): ResolvedLifecycleOptions {
  check.record('lifecycle', options, lifecycleOptionNames)
  const timeout = check.duration('lifecycle.timeout', options.timeout ?? 8_000)
  const delay = check.duration('lifecycle.delay', options.delay ?? 0, { min: 0, max: check.MAX_DURATION })
  check.ensure(delay === 0 || delay < timeout, 'lifecycle.delay', `less than the timeout of ${timeout} ms, which it is part of`, delay)
  const ready = check.array('lifecycle.ready', options.ready ?? []).map((each, index) => check.fn<ReadyCheck>(`lifecycle.ready[${index}]`, each))
  const readyPath = path('lifecycle.readyPath', options.readyPath ?? false)
  check.ensure(isAsked || ready.length === 0 || readyPath !== false, 'lifecycle.readyPath', 'a path, since lifecycle.ready has checks that nobody would call', readyPath)
  return {
    delay,
    timeout,
    grace: check.duration('lifecycle.grace', options.grace ?? 1_000, { min: 0, max: check.MAX_DURATION }),
    readyPath,
    livePath: path('lifecycle.livePath', options.livePath ?? false),
    ready,
    readyTimeout: check.duration('lifecycle.readyTimeout', options.readyTimeout ?? 500, { min: 1, max: check.MAX_DURATION })
  }
}

function path (option: string, value: unknown): string | false {
  if (value === false) return false
  check.ensure(check.isPath(value), option, 'false, or a path such as /ready, of letters, digits, and -._~', value)
  return value
}
