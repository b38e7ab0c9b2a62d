/**
 * The phases of a shutdown, and what each phase admits.
 *
 * Fastify's close() has another order: it ends listening within milliseconds and runs onClose hooks, those registered last first. A readiness
 * probe would never see the change, and a database plugin registered after this one would be closed while tasks still write to the database. So
 * everything is drained first, while the server still listens. shutdown.ts enters the phases, logs them and publishes them.
 */
import { drainPhases, type DrainPhase } from '../shared/drainables.ts'

/**
 * - `serving`: as usual
 * - `leaving`: not ready any more, still serving, so that a load balancer can look away
 * - `requests`: new requests are refused; those in flight go on, and may submit tasks and run jobs
 * - `tasks`: tasks go on, and may submit the tasks and run the jobs that they need
 * - `workers`: jobs go on
 * - `closing`: nothing accepted is left; Fastify closes
 * - `closed`: done
 */
export type Phase = 'serving' | 'leaving' | DrainPhase | 'closing' | 'closed'

export const phases: readonly Phase[] = ['serving', 'leaving', ...drainPhases, 'closing', 'closed']

/** Returns the later of two phases: a shutdown never goes back, in whatever order its steps come. */
export function later (a: Phase, b: Phase): Phase {
  return phases.indexOf(a) >= phases.indexOf(b) ? a : b
}

/** Tells whether the service is not ready any more: load balancers should look away, and connections end with the response. */
export function isStopping (phase: Phase): boolean {
  return phase !== 'serving'
}

/** Tells whether a new request is served. An `always` request (liveness, metrics, the dashboard) is served as long as Fastify listens. */
export function admits (phase: Phase, always: boolean): boolean {
  return always || phase === 'serving' || phase === 'leaving'
}
