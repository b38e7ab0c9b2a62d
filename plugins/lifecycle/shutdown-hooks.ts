/**
 * Shutdown hooks: functions that end a stream or socket which would never end by itself (server-sent events, WebSockets). They are a drainable,
 * so that a slow hook is bounded by the deadline and reported by name, like all other work.
 */
import type { Drainable, Unfinished } from '../shared/drainables.ts'
import { within } from '../shared/within.ts'

/** A shutdown hook may send a last message and close a connection. The shutdown waits for its promise, until the deadline. */
export type ShutdownHook = () => void | Promise<void>

export interface ShutdownHooks extends Drainable {
  /** Adds a hook, and returns the function that removes it: call that when the stream has ended. A hook that is added while requests drain runs at once. */
  add (hook: ShutdownHook): () => void
}

interface Running {
  readonly name: string
  readonly id: string
  readonly since: number
  readonly settled: Promise<void>
}

export function createShutdownHooks (now: () => number, onError: (error: unknown) => void): ShutdownHooks {
  // A Set of wrappers: the same function may be added for two streams.
  const registered = new Set<{ hook: ShutdownHook }>()
  const running = new Set<Running>()
  let started = 0
  let closed = false

  function run (hook: ShutdownHook): void {
    const settled = (async () => hook())().catch(onError).finally(() => { running.delete(entry) })
    const entry: Running = { name: hook.name || '(anonymous)', id: String(++started), since: now(), settled }
    running.add(entry)
  }

  const hooks: ShutdownHooks & { held (): Unfinished[] } = {
    name: 'shutdownHooks',
    phase: 'requests',
    completed: 0,
    get pending () { return running.size },

    add (hook) {
      if (closed) {
        run(hook)
        return () => {}
      }
      const entry = { hook }
      registered.add(entry)
      return () => { registered.delete(entry) }
    },

    close () {
      closed = true
      const due = [...registered]
      registered.clear()
      for (const { hook } of due) run(hook)
    },

    async idle () { await Promise.all([...running].map(async ({ settled }) => settled)) },

    held: () => [...running].map(({ name, id, since }) => ({ kind: 'hook', name, id, ageMs: Math.round(now() - since), attempt: 1 })),

    // A hook has no signal: the stream that it waits for is given up at the same time.
    async giveUp (grace) {
      await within(grace, hooks.idle())
      return hooks.held()
    }
  }
  return hooks
}
