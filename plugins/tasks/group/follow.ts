/**
 * Aborts `controller` when one of `parents` does. Returns the function that takes the listeners off.
 *
 * Not AbortSignal.any(): on Node 20 a long-lived parent, which is the rule here, holds on to every signal made from it. The
 * listener's reference is weak for the same reason: what is dropped without being finished can be collected, and reported.
 */
export function follow (parents: readonly AbortSignal[], controller: AbortController): () => void {
  const weak = new WeakRef(controller)
  const leaves: Array<() => void> = []
  for (const parent of parents) {
    const abort = (): void => weak.deref()?.abort(parent.reason)
    if (parent.aborted) abort()
    else parent.addEventListener('abort', abort, { once: true })
    leaves.push(() => parent.removeEventListener('abort', abort))
  }
  return () => { for (const leave of leaves) leave() }
}
