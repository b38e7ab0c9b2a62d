/** Closes an application after its drain, and tells which kind of hook of the application keeps it from being closed. */
import type { FastifyInstance } from 'fastify'
import type { Unfinished } from '../../shared/drainables.ts'
import { within } from '../../shared/within.ts'

/** Closes the app, and waits for `ms`. Resolves to the hook that has not ended. Rejects if an onClose hook fails. */
export type CloseApp = (ms: number) => Promise<Unfinished | undefined>

export function createCloseApp (app: FastifyInstance): CloseApp {
  let hasClosed = false
  app.server.once('close', () => { hasClosed = true })

  return async (ms) => {
    const since = performance.now()
    const listened = app.server.listening
    const hanging = (name: string): Unfinished => ({ kind: 'hook', name, id: name, ageMs: Math.round(performance.now() - since), attempt: 1 })
    try {
      if (await within(ms, app.close())) return undefined
    } catch (error) {
      // Fastify has waited for the hook as long as its pluginTimeout, and has closed the rest of the app.
      if ((error as { code?: unknown } | null)?.code === 'AVV_ERR_READY_TIMEOUT') return hanging('preClose')
      throw error
    }
    // Fastify closes the server after the preClose hooks and before the onClose hooks. A server that never listened closes at once.
    return hanging(hasClosed || (listened && !app.server.listening) ? 'onClose' : 'preClose')
  }
}
