/** The end of a pool whose app is closed: drain within a deadline, give up by name what is left, end the threads. */
import type { FastifyBaseLogger } from 'fastify'
import { within } from '../../shared/within.ts'
import type { ResolvedOptions } from '../options.ts'
import type { Pool } from './pool.ts'

/** Nothing is left to drain if the lifecycle plugin did so before. */
export async function shutDown (pool: Pool, { closeTimeout, grace }: ResolvedOptions, log: FastifyBaseLogger): Promise<void> {
  pool.close()
  if (!await within(closeTimeout, pool.idle())) {
    // An endless grace is for a job's own time, not for a process that is to end.
    const unfinished = await pool.giveUp(grace === Infinity ? 0 : grace)
    log.warn({ pool: pool.name, unfinished }, `closing gave up ${unfinished.length} jobs after ${closeTimeout} ms`)
  }
  await pool.destroy()
}
