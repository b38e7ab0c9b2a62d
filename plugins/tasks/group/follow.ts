/**
 * Aborts `controller` when one of `parents` aborts. Returns the function that removes the listeners.
 *
 * Rejected: AbortSignal.any(). On Node 20 a long-lived parent, which is the rule here, keeps every signal that was made from it. The
 * listener's reference is weak for the same reason: a group that is dropped without wait() can be collected.
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
