/** Tracks which locks the running code holds, through AsyncLocalStorage. Code that would wait for itself gets an error instead. */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Hold } from './hold.ts'

/** How many holds are remembered, the latest ones: code that takes ten thousand locks must not look through all of them for each. */
const MOST = 16

const scopes = new AsyncLocalStorage<readonly Hold[]>()

/** Released holds are left out: otherwise a loop that locks again and again would keep them all. */
function within (hold: Hold): readonly Hold[] {
  const outer = scopes.getStore()?.filter(({ state }) => state !== 'released') ?? []
  return [hold, ...outer.slice(0, MOST - 1)]
}

/** Calls `fn` as the holder of a lock. */
export function runHolding<T> (hold: Hold, fn: () => T): T {
  return scopes.run(within(hold), fn)
}

/** Makes the code that runs now, and what it awaits and calls from now on, the holder of a lock. */
export function enterHolding (hold: Hold): void {
  scopes.enterWith(within(hold))
}

/**
 * Whether the running code holds the lock. A background task that was submitted under the lock doesn't: nobody waits for it under the lock,
 * and it has another current request than the holder has, namely none.
 *
 * @param request the current request, or undefined
 */
export function isHeldHere (lock: string, request: object | undefined): boolean {
  return scopes.getStore()?.some((hold) => hold.lock === lock && hold.state === 'held' && hold.request === request) ?? false
}
