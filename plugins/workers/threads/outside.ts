import { AsyncLocalStorage } from 'node:async_hooks'

/**
 * Runs a function outside any request. What the pool starts while a request is being handled, and which outlives it (a host, its
 * port, a timer that arms itself again), would keep that request in memory and run in its context.
 */
export const outside: <T>(callback: () => T) => T = AsyncLocalStorage.snapshot()
