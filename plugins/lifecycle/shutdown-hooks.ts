/**
 * Shutdown hooks: functions that end a stream or socket which would never end by itself (server-sent events, WebSockets). They are a drainable,
 * so that a slow hook is bounded by the deadline and reported by name, like all other work.
 */
import type { Unfinished } from '../shared/drainables.ts'
import { within } from '../shared/within.ts'

/** A shutdown hook may send a last message and close a connection. The shutdown waits for its promise, until the deadline. */
export type ShutdownHook = () => void | Promise<void>

export type ShutdownHooks = ReturnType<typeof createShutdownHooks>

export function createShutdownHooks (onError: (error: unknown) => void) {
  // A Set of wrappers: the same function may be added for two streams.
  const registered = new Set<{ hook: ShutdownHook }>()
  /** What runs, by the promise of its end. */
  const running = new Map<Promise<void>, { name: string, id: string, since: number }>()
  let started = 0
  let closed = false

  function run (hook: ShutdownHook): void {
    const settled: Promise<void> = (async () => hook())().catch(onError).finally(() => { running.delete(settled) })
    running.set(settled, { name: hook.name || '(anonymous)', id: String(++started), since: performance.now() })
  }

  const hooks = {
    name: 'shutdownHooks',
    phase: 'requests' as const,
    get pending (): number { return running.size },

    /**
     * Adds a hook, and returns the function that removes it: call that when the stream has ended. A hook that is added
     * while requests drain runs at once.
     */
    add (hook: ShutdownHook): () => void {
      if (closed) {
        run(hook)
        return () => {}
      }
      const entry = { hook }
      registered.add(entry)
      return () => { registered.delete(entry) }
    },

    close (): void {
      closed = true
      const due = [...registered]
      registered.clear()
      for (const { hook } of due) run(hook)
    },

    async idle (): Promise<void> { await Promise.all(running.keys()) },

    held (): Unfinished[] {
      const now = performance.now()
      return [...running.values()].map(({ name, id, since }) =>
        ({ kind: 'hook', name, id, ageMs: Math.round(now - since), attempt: 1 }))
    },

    // A hook has no signal: the stream that it waits for is given up at the same time.
    async giveUp (grace: number): Promise<Unfinished[]> {
      await within(grace, hooks.idle())
      return hooks.held()
    }
  }
  return hooks
}
