/** Knows the group whose function runs, so that a group that is made inside it is aborted with it. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { currentPart } from '../../cancellation/ambient.ts'

interface Enclosing {
  readonly signal: AbortSignal
  /**
   * The request or the task that the function is part of. A task that the function submits is not: it outlives the
   * group.
   */
  readonly part: unknown
}

const enclosing = new AsyncLocalStorage<Enclosing>()

/** Calls `fn` as a function of the group that has this signal. */
export function runInGroup<T> (signal: AbortSignal, fn: () => T): T {
  const [outer, part] = [enclosing.getStore(), currentPart()]
  // A store of its own costs as much as a short function does.
  if (outer?.signal === signal && outer.part === part) return fn()
  return enclosing.run({ signal, part }, fn)
}

/**
 * Returns the signal of the group whose function runs; undefined outside, and in work that outlives that function's
 * request or task.
 */
export function enclosingSignal (): AbortSignal | undefined {
  const found = enclosing.getStore()
  return found !== undefined && found.part === currentPart() ? found.signal : undefined
}
