/**
 * Outcome says how a piece of work has ended: a job, a task, a wait for a lock, a decision of the limiter. Whoever
 * decides the end makes the outcome. It settles the work's caller and goes to the ledger, so that what a caller is told
 * and what is counted can't differ.
 */

/**
 * - `completed`: the work has a result.
 * - `failed`: its own code has thrown, or its payload or result could not be sent.
 * - `refused`: the service would not do it; `error` is a refusal (429, 503). An error that is a refusal has no other
 *   outcome.
 * - `aborted`: its caller, a client or an operator has stopped it.
 * - `expired`: its deadline has passed.
 * - `crashed`: its thread or process has died.
 */
export type How = 'completed' | 'failed' | 'refused' | 'aborted' | 'expired' | 'crashed'

export interface Outcome {
  readonly how: How
  /** How long the work ran, in ms; 0 if it did not. */
  readonly ms: number
  /** The result. */
  readonly value: unknown
  /** What the caller gets in place of a result. */
  readonly error: unknown
  /** Of a refusal, the word for its cause. Of an abort, the reason of the signal. */
  readonly reason: unknown
}

// All have the same fields in the same order, so that V8 has one shape for them.
const outcome = (how: How, ms: number, value: unknown, error: unknown, reason: unknown): Outcome =>
  ({ how, ms, value, error, reason })

export const completed = (value: unknown, ms: number): Outcome => outcome('completed', ms, value, undefined, undefined)
export const failed = (error: unknown, ms = 0): Outcome => outcome('failed', ms, undefined, error, undefined)
export const refused = (error: Error & { readonly reason: string }): Outcome =>
  outcome('refused', 0, undefined, error, error.reason)
export const aborted = (error: Error, reason: unknown = error): Outcome =>
  outcome('aborted', 0, undefined, error, reason)
export const expired = (error: Error, ms = 0): Outcome => outcome('expired', ms, undefined, error, undefined)
export const crashed = (error: Error): Outcome => outcome('crashed', 0, undefined, error, undefined)
