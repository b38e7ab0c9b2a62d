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
