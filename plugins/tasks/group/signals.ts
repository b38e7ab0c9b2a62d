/**
 * The signals of groups: those that abort a group, the one of the group whose function runs, and a wait that a signal
 * ends.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { currentPart } from '../../cancellation/ambient.ts'

/** Parents are the signals that abort a group: its request's, its task's, and one that the caller passed. */
export class Parents {
  readonly #signals: readonly AbortSignal[]
  readonly #controller: AbortController
  #isFollowed = false

  constructor (signals: readonly AbortSignal[], controller: AbortController) {
    this.#signals = signals
    this.#controller = controller
  }

  /**
   * Aborts the group when a parent aborts, or has aborted, until forget(). Idempotent.
   *
   * Until then each parent holds the group's controller strongly. Often nothing but the group's signal keeps the code
   * alive that waits for the abort: with a weak reference, a garbage collection would take all of it, and the abort
   * would be lost. Not AbortSignal.any() either, whose references are weak, and on Node 20 a parent that lives long
   * holds on to every signal made from it.
   */
  follow (): void {
    if (this.#isFollowed || this.check()) return
    this.#isFollowed = true
    for (const signal of this.#signals) signal.addEventListener('abort', this.#onAbort)
  }

  forget (): void {
    if (!this.#isFollowed) return
    this.#isFollowed = false
    for (const signal of this.#signals) signal.removeEventListener('abort', this.#onAbort)
  }

  /** Aborts the group if a parent has aborted, and tells whether the group is aborted. */
  check (): boolean {
    this.#onAbort()
    return this.#controller.signal.aborted
  }

  readonly #onAbort = (): void => {
    const aborted = this.#signals.find((signal) => signal.aborted)
    if (aborted !== undefined) this.#controller.abort(aborted.reason)
  }
}

/** The group whose function runs. A group that is made inside that function is aborted with it. */
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

/**
 * Returns what `work` resolves to, or rejects with the signal's reason as soon as the signal aborts.
 *
 * Rejected: Promise.race() with one promise for the signal, which would collect a reaction for each item of a long
 * stream.
 */
export function abortable<T> (work: T | PromiseLike<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', abort)
    Promise.resolve(work).then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
    if (signal.aborted) abort()
  })
}
