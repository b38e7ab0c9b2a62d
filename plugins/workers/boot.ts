/** The start of a pool whose app boots: every thread has loaded the jobs, or the app is told why not. */
import { JobsInvalidError } from '../shared/errors.ts'
import { within } from '../shared/within.ts'
import type { Pool } from './pool/pool.ts'

/** Of Fastify's own limit on a plugin, whose error would not say what took so long. */
const SHARE = 0.9

/** @param pluginTimeout Fastify's option, in ms; 0 for no limit */
export async function boot (pool: Pool, url: string, pluginTimeout = 10_000): Promise<void> {
  const limit = pluginTimeout === 0 ? Infinity : pluginTimeout * SHARE
  if (!await within(limit, pool.ready)) {
    pool.failBoot(new JobsInvalidError(`The worker threads have not loaded ${url} within ${limit} ms: if it takes that long, raise Fastify's pluginTimeout`))
    await pool.ready
  }
}
