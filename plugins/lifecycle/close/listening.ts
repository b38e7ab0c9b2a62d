/**
 * A close() during boot overtakes the listen() that follows the boot. A server that is closed before it has begun to listen never emits
 * `listening`, and Fastify's listen() would wait for that for ever. Closed a moment later, while Fastify looks up the other addresses of
 * `localhost`, it makes that lookup throw where nobody can catch it.
 */
import type { Server } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'

/** How long after the boot a listen() may take to begin, in ms. */
export const LISTEN_TIMEOUT_MS = 1_000

/** Adds hooks. Returns a function that resolves once no listen() is under way. */
export function watchListening (app: FastifyInstance): () => Promise<void> {
  let readyAt = -Infinity
  let listening = false
  let begun = false
  app.addHook('onReady', async () => { readyAt = performance.now() })
  // A hook with a callback: Fastify runs the next hook at once, and so doesn't delay the application's own hooks.
  app.addHook('onListen', (done) => {
    listening = true
    done()
  })
  // This runs before Fastify's own listener, which is still there. A server that other code made listen (supertest, say) has none.
  app.server.on('listening', () => { begun = isAwaited(app.server) })
  const underWay = (): boolean => !listening && (begun ? app.server.listening : isAwaited(app.server) && performance.now() < readyAt + LISTEN_TIMEOUT_MS)

  return async () => {
    // listen() begins right after the boot has ended.
    await turn()
    while (underWay()) await turn()
  }
}

/** Tells whether Fastify still waits for the event. Its listener is added with once(); those of the application stay. */
function isAwaited (server: Server): boolean {
  return server.rawListeners('listening').some((listener) => 'listener' in listener)
}
