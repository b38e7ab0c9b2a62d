/**
 * A drainable holds accepted work, which must be finished before the process may end. Every plugin that holds such work
 * adds a drainable to the set of the app; lifecycle drains them all, in phases, before it closes the app. A plugin that
 * is registered without lifecycle drains itself in onClose. The set belongs to the server, so the order of registration
 * doesn't matter, and no plugin imports another.
 */
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import { logSafely } from './log.ts'
import { within } from './within.ts'

/** A unit of work by name: held now, or given up. */
export interface Unfinished {
  /** What kind of work it is. */
  kind: 'job' | 'task' | 'group' | 'lock' | 'request' | 'hook'
  /** The name of the job, task or lock, or the route. */
  name: string
  /** The id of the piece of work. */
  id: string
  /** How long ago it was accepted, in ms. */
  ageMs: number
  /** Which attempt it was on, from 1. */
  attempt: number
}

/**
 * Requests drain first: they may still submit tasks and run jobs; then tasks, which may still run jobs; then workers.
 */
export const drainPhases = ['requests', 'tasks', 'workers'] as const
export type DrainPhase = typeof drainPhases[number]

export interface Drainable {
  /** For the report: the decorator's name. */
  readonly name: string
  readonly phase: DrainPhase
  /** How many units of work it has finished since it started, if nobody else counts them. */
  readonly completed?: number
  /** How many units of work it holds: running and waiting. */
  readonly pending: number
  /** False as long as the drainable can't begin its work, which keeps the service unready. Undefined: it always can. */
  readonly isReady?: boolean
  /** How many timers it has armed. Zero once nothing is pending, or the app leaks them. */
  readonly timers?: number
  /**
   * Refuses new work from now on. Idempotent. Tasks refuse nothing while one of them is left, since a task may submit
   * others that its own end needs.
   */
  close (): void
  /** Resolves when nothing runs or waits. It doesn't refuse new work. */
  idle (): Promise<void>
  /** Returns the units of work that it holds, for a message that names what is left. */
  held? (): Unfinished[]
  /**
   * Returns what it gave up before any deadline (a retry that is too far away), and what still runs after it was given
   * up.
   */
  lost? (): Unfinished[]
  /**
   * Refuses everything, aborts what is left by its signal, waits for `grace` ms, and then ends it by force. Resolves to
   * what was lost. Is called past the deadline, after close().
   *
   * @param force how long the end by force may take, in ms; by default as long as the drainable thinks right
   */
  giveUp (grace: number, force?: number): Promise<Unfinished[]>
}

/** The callers of a drainable's idle(), which wait until the drainable holds nothing. */
export class IdleWaiters {
  readonly #resolves: Array<() => void> = []

  /** Resolves at once if nothing is pending, and otherwise with the next wake(). */
  wait (pending: number): Promise<void> {
    return pending === 0 ? Promise.resolve() : new Promise((resolve) => { this.#resolves.push(resolve) })
  }

  /** Call this method when nothing is pending any more. */
  wake (): void {
    if (this.#resolves.length > 0) for (const resolve of this.#resolves.splice(0)) resolve()
  }
}

/** Drainables that a shutdown has given up. What they still hold isn't waited for again when the app closes. */
export const givenUp = new WeakSet<Drainable>()

const drainables = new WeakMap<object, Set<Drainable>>()

/** Returns the drainables of the app that `instance` is part of. */
export function drainablesOf (instance: FastifyInstance): Set<Drainable> {
  let set = drainables.get(instance.server)
  if (set === undefined) drainables.set(instance.server, set = new Set())
  return set
}

/**
 * Returns a decorator of the suite, which is known by its drainable: an application without that plugin may have a
 * decorator of its own under the name. Returns undefined if only an encapsulated context has the decorator. The suite's
 * own in its place throws when it is read.
 */
export function ownDecorator<Decorator> (app: FastifyInstance, name: string, drainable: string): Decorator | undefined {
  if (![...drainablesOf(app)].some((each) => each.name === drainable)) return undefined
  try {
    return app.getDecorator<Decorator>(name)
  } catch {
    return undefined
  }
}

/**
 * Lists drainables with their app until the app has closed, and closes them with the app. A drainable that still holds
 * work then stays listed: a function that ignores its signal, a lock that nobody has released.
 */
export function drainOnClose (app: FastifyInstance, drainables: readonly Drainable[],
  settings: { closeTimeout: number, grace: number }): void {
  const listed = drainablesOf(app)
  for (const drainable of drainables) listed.add(drainable)
  app.addHook('onClose', async () => {
    await Promise.all(drainables.map(async (drainable) => closeDrainable(drainable, settings, app.log)))
    for (const drainable of drainables) if (drainable.held?.().length === 0) listed.delete(drainable)
  })
}

/**
 * Finishes what a drainable holds when its app is closed, and gives up by name what is left after `closeTimeout` ms. It
 * is for an app without the lifecycle plugin; if lifecycle is registered, the drainable is empty already.
 */
export async function closeDrainable (drainable: Drainable,
  { closeTimeout, grace }: { closeTimeout: number, grace: number }, log: FastifyBaseLogger): Promise<void> {
  drainable.close()
  if (givenUp.has(drainable)) return
  if (await within(closeTimeout, drainable.idle())) return
  // An endless grace period is for the work's own time, not for a process that is to end.
  const unfinished = await drainable.giveUp(grace === Infinity ? 0 : grace)
  logSafely(log, 'error', { name: drainable.name, unfinished },
    `closing gave up ${unfinished.length} ${unfinished[0]?.kind ?? drainable.name}s after ${closeTimeout} ms`)
}
