import type { FastifyBaseLogger } from 'fastify'
import type { Drainable } from './drainables.ts'
import { logSafely } from './log.ts'
import { within } from './within.ts'

/**
 * Finishes what a drainable holds when its app is closed, and gives up by name what is left after `closeTimeout` ms. It is for an app without
 * the lifecycle plugin; with it, nothing is left to do here.
 */
export async function closeDrainable (drainable: Drainable, { closeTimeout, grace }: { closeTimeout: number, grace: number }, log: FastifyBaseLogger): Promise<void> {
  drainable.close()
  if (await within(closeTimeout, drainable.idle())) return
  // An endless grace period is for the work's own time, not for a process that is to end.
  const unfinished = await drainable.giveUp(grace === Infinity ? 0 : grace)
  logSafely(log, 'error', { name: drainable.name, unfinished }, `closing gave up ${unfinished.length} ${drainable.phase === 'tasks' ? 'tasks' : 'jobs'} after ${closeTimeout} ms`)
}
