/**
 * What must be finished before the process may end. Every plugin that holds accepted work adds itself here; lifecycle
 * drains them all, in phases, before it closes the app. A plugin registered without lifecycle drains itself in onClose.
 * The set belongs to the server, not to a decorator, so registration order doesn't matter and no plugin imports another.
 */
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import { logSafely } from './log.ts'
import { within } from './within.ts'

/** A unit of work by name: what is held now, or what had to be given up. */
export interface Unfinished {
  kind: 'job' | 'task' | 'lock' | 'request' | 'hook'
  name: string
  id: string
  ageMs: number
  attempt: number
}

/** Requests drain first: they may still submit tasks and run jobs; then tasks, which may still run jobs; then workers. */
export const drainPhases = ['requests', 'tasks', 'workers'] as const
export type DrainPhase = typeof drainPhases[number]

export interface Drainable {
  /** For the report: the decorator's name. */
  readonly name: string
  readonly phase: DrainPhase
  /** How many units of work it has finished since it started. */
  readonly completed: number
  /** How many units of work it holds: running and waiting. */
  readonly pending: number
  /** How many timers it has armed. Zero once nothing is pending, or the app leaks them. */
  readonly timers?: number
  /**
   * Refuse new work from now on. Idempotent.
   * Tasks close softly: while one is left they still take those that its own finish needs, and none once they are empty.
   */
  close (): void
  /** Resolves when nothing runs or waits. Doesn't refuse new work by itself. */
  idle (): Promise<void>
  /** The units of work it holds, for a message that names what is left. */
  held? (): Unfinished[]
  /** What it gave up before any deadline, and what still runs in vain: a retry too far away, a task that ignores its signal. */
  lost? (): Unfinished[]
  /**
   * Past the deadline: refuse everything, abort what is left cooperatively, wait for `grace` ms, then kill.
   * Resolves with what was lost when nothing of it runs any more. Called after close().
   */
  giveUp (grace: number): Promise<Unfinished[]>
}

const drainables = new WeakMap<object, Set<Drainable>>()

/** The drainables of the app that `instance` is part of. */
export function drainablesOf (instance: FastifyInstance): Set<Drainable> {
  let set = drainables.get(instance.server)
  if (set === undefined) drainables.set(instance.server, set = new Set())
  return set
}

/**
 * Finishes what a drainable holds when its app is closed, and gives up by name what is left after `closeTimeout` ms. It is for an app without
 * the lifecycle plugin; with it, nothing is left to do here.
 */
export async function closeDrainable (drainable: Drainable, { closeTimeout, grace }: { closeTimeout: number, grace: number }, log: FastifyBaseLogger): Promise<void> {
  drainable.close()
  if (await within(closeTimeout, drainable.idle())) return
  // An endless grace period is for the work's own time, not for a process that is to end.
  const unfinished = await drainable.giveUp(grace === Infinity ? 0 : grace)
  logSafely(log, 'error', { name: drainable.name, unfinished }, `closing gave up ${unfinished.length} ${unfinished[0]?.kind ?? drainable.name}s after ${closeTimeout} ms`)
}
