/** For test suites: `t.after(() => assertIdle(app))` of node:test, `t.teardown(…)` of tap, fails the test that leaves something running. */
import { AssertionError } from 'node:assert'
import { subscribe } from 'node:diagnostics_channel'
import { setImmediate as turn } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { drainablesOf, type Drainable } from './shared/drainables.ts'
import { within } from './shared/within.ts'

const signals = ['SIGTERM', 'SIGINT'] as const

const listenersNow = (): Set<NodeJS.SignalsListener> => new Set(signals.flatMap((signal) => process.listeners(signal)))

/** The listeners that were there when this module was loaded, or when an application was created: those of the test runner. */
const atLoad = listenersNow()
const atCreation = new WeakMap<object, Set<NodeJS.SignalsListener>>()
// A runner may listen as late as its first test: tap does, if node runs the file itself.
subscribe('fastify.initialization', (message) => { atCreation.set((message as { fastify: object }).fastify, listenersNow()) })

/** Options of `assertIdle()`. */
export interface AssertIdleOptions {
  /**
   * How long work may take to end, in ms: the end of a request reaches its client before it reaches the server.
   * @default 1_000
   */
  within?: number
}

/**
 * Resolves once nothing of the suite runs or waits in `app`: no request, task or job, no timer of the suite, and no listener on SIGTERM or
 * SIGINT that wasn't there when `app` was created (close-with-grace without `uninstall()`). Call it before close() or after it. Timers,
 * sockets and promises of the application's own aren't seen.
 *
 * @throws {AssertionError} that names what is left after `within` ms
 */
export async function assertIdle (app: FastifyInstance, { within: ms = 1_000 }: AssertIdleOptions = {}): Promise<void> {
  const endsAt = performance.now() + ms
  for (let remaining = ms; remaining > 0 && left(app).length > 0; remaining = endsAt - performance.now()) {
    await within(remaining, Promise.all([...drainablesOf(app)].map(async (drainable) => drainable.idle())))
    await turn()
  }
  const leftovers = [...left(app), ...listeners(app)]
  if (leftovers.length > 0) {
    throw new AssertionError({ message: `Not idle:\n${leftovers.map((line) => `- ${line}`).join('\n')}`, stackStartFn: assertIdle })
  }
}

function left (app: FastifyInstance): string[] {
  return [...drainablesOf(app)].flatMap((drainable) => [...pending(drainable), ...timers(drainable)])
}

function pending (drainable: Drainable): string[] {
  const units = drainable.held?.().map(({ kind, name, id, ageMs }) => `${kind} ${name} (${id}, for ${ageMs} ms)`) ?? []
  // A function that ignores its signal is held, and isn't pending.
  const count = Math.max(drainable.pending, units.length)
  return count === 0 ? [] : [`${drainable.name} holds ${count}${units.length === 0 ? '' : `: ${units.join(', ')}`}`]
}

function timers ({ name, timers = 0 }: Drainable): string[] {
  return timers === 0 ? [] : [`${name} has ${timers} active timer${timers === 1 ? '' : 's'}`]
}

function listeners (app: FastifyInstance): string[] {
  const foreign = foreignTo(app)
  return signals.flatMap((signal) => process.listeners(signal)
    .filter((listener) => !foreign.has(listener))
    .map((listener) => `a listener on ${signal}: ${listener.name || 'anonymous'}`))
}

/** An instance of a plugin has the instance around it as its prototype. */
function foreignTo (instance: object | null): Set<NodeJS.SignalsListener> {
  return instance === null ? atLoad : atCreation.get(instance) ?? foreignTo(Object.getPrototypeOf(instance) as object | null)
}
