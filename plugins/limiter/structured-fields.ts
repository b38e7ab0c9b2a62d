/** Parts of the header fields of responses, in the syntax of structured fields (RFC 9651). */
import type { Shape } from './stores/bucket.ts'

/** The largest integer of a structured field. */
const LARGEST = 999_999_999_999_999

/** Returns a wait, in ms, as whole seconds: never too early, and at most 1 s late. */
export function retryAfter (wait: number): number {
  return Math.min(LARGEST, Math.max(1, Math.ceil(wait / 1000)))
}

/** Returns a name as a structured field's string. */
export function quote (name: string): string {
  return `"${name.replace(/["\\]/g, '\\$&')}"`
}

/** Returns an item of `RateLimit-Policy`. @param quoted the policy's name as a structured field's string */
export function policyItem (quoted: string, { rate, burst }: Shape): string {
  return `${quoted};q=${burst};w=${retryAfter(burst * 1000 / rate)}`
}
