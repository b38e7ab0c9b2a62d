/** The end of an app that has no lifecycle plugin. With it there is nothing left to do here. */
import type { FastifyInstance } from 'fastify'
import { drainablesOf, type Drainable } from '../shared/drainables.ts'
import { within } from '../shared/within.ts'

export function drainOnClose (app: FastifyInstance, drainables: readonly Drainable[], { closeTimeout, grace }: { closeTimeout: number, grace: number }): void {
  app.addHook('onClose', async () => {
    await Promise.all(drainables.map(async (drainable) => {
      drainable.close()
      if (!await within(closeTimeout, drainable.idle())) {
        const unfinished = await drainable.giveUp(grace)
        app.log.error({ unfinished }, 'closing gave up %d tasks after %d ms', unfinished.length, closeTimeout)
      }
    }))
    // What runs on in vain stays listed.
    for (const drainable of drainables) if (drainable.held?.().length === 0) drainablesOf(app).delete(drainable)
  })
}
