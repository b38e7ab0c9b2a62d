/**
 * Streams and sockets that would never end by themselves (server-sent events, WebSockets) and want to hear that the
 * service is going: as a drainable, so that a slow farewell is bounded like everything else.
 */
import type { Drainable } from '../shared/drainables.ts'

/** May send a last message and close; the shutdown waits for its promise, until the deadline. */
export type ShutdownHook = () => void | Promise<void>

export interface ShutdownHooks extends Drainable {
  /** Returns the function that takes it back: call it when the stream has ended. Runs at once if requests drain already. */
  add (goodbye: ShutdownHook): () => void
}

export function createShutdownHooks (onError: (error: unknown) => void): ShutdownHooks {
  // A Set of wrappers: the same function may be added for two streams.
  const registered = new Set<{ goodbye: ShutdownHook }>()
  const running = new Set<Promise<void>>()
  let closed = false

  function say (goodbye: ShutdownHook): void {
    const said = (async () => goodbye())().catch(onError).finally(() => { running.delete(said) })
    running.add(said)
  }

  return {
    name: 'shutdownHooks',
    phase: 'requests',
    completed: 0,
    get pending () { return running.size },

    add (goodbye) {
      if (closed) {
        say(goodbye)
        return () => {}
      }
      const entry = { goodbye }
      registered.add(entry)
      return () => { registered.delete(entry) }
    },

    close () {
      closed = true
      for (const { goodbye } of registered) say(goodbye)
      registered.clear()
    },

    async idle () { await Promise.all(running) },

    // The stream that waits for its farewell is a request in flight: it is in the report by that name.
    giveUp: async () => []
  }
}
