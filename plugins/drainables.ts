/**
 * What must be finished before the process may end. Every plugin that holds accepted work adds itself here; lifecycle
 * drains them all, in phases, before it closes the app. A plugin registered without lifecycle drains itself in onClose.
 * The set belongs to the server, not to a decorator, so registration order doesn't matter and no plugin imports another.
 */
import type { FastifyInstance } from 'fastify'

/** What had to be abandoned, by name. */
export interface Abandoned {
  kind: 'job' | 'task' | 'request'
  name: string
  id: string
  ageMs: number
  attempt: number
}

export interface Drainable {
  /** For the report: the decorator's name. */
  readonly name: string
  /** Tasks drain before workers, since a draining task may still run jobs. */
  readonly phase: 'tasks' | 'workers'
  /** How many units of work it has finished since it started. */
  readonly completed: number
  /** How many units of work it holds: running and waiting. */
  readonly pending: number
  /** Refuse new work from now on. Idempotent. */
  close (): void
  /** Resolves when nothing runs or waits. Doesn't refuse new work by itself. */
  idle (): Promise<void>
  /**
   * Past the deadline: abort what is left cooperatively, wait for `grace` ms, then kill.
   * Resolves with what was lost when nothing of it runs any more.
   */
  abandon (grace: number): Promise<Abandoned[]>
}

const drainables = new WeakMap<object, Set<Drainable>>()

/** The drainables of the app that `instance` is part of. */
export function drainablesOf (instance: FastifyInstance): Set<Drainable> {
  let set = drainables.get(instance.server)
  if (set === undefined) drainables.set(instance.server, set = new Set())
  return set
}
