/**
 * Says what ended a thread, in a few words that may be sent to a client. The text of the error itself may be about another client's work,
 * which a timer that a finished job left behind goes on with. The errors are piscina's and Node's: see test/workers/threads/piscina.test.ts.
 */
export function howItEnded (error: Error | undefined): string {
  if (error === undefined) return 'it ended'
  if ((error as { code?: unknown }).code === 'ERR_WORKER_OUT_OF_MEMORY') return 'out of memory'
  const exit = /^worker exited with code: (\d+)$/.exec(error.message)
  if (exit !== null) return `exited with code ${exit[1]}`
  return error.name === 'AbortError' ? 'ended by the pool' : 'an uncaught error'
}
