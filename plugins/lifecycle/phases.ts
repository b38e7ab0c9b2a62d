/**
 * The phases of a shutdown and what each one admits, apart from any wiring.
 *
 * The order isn't Fastify's close(), which ends listening within milliseconds and runs onClose hooks last registered
 * first: a readiness probe would never see the change, and a database plugin registered after ours would be closed
 * under the tasks that still write to it. So everything is drained first, while the server still listens.
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

/** The later of two phases: a shutdown never goes back, whoever asks, in whatever order. */
export function later (a: Phase, b: Phase): Phase {
  return phases.indexOf(a) >= phases.indexOf(b) ? a : b
}

/** Whether a load balancer should send requests. */
export function isReady (phase: Phase): boolean {
  return phase === 'serving'
}

/** Whether clients are told to look for another server: their connections end with the response. */
export function isStopping (phase: Phase): boolean {
  return phase !== 'serving'
}

/** Whether a new request is served. `always` ones (liveness, metrics, the dashboard) are, for as long as Fastify listens. */
export function admits (phase: Phase, always: boolean): boolean {
  return always || phase === 'serving' || phase === 'leaving'
}
