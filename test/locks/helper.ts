// Apps with locks. It defines no test.
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import locks, { type LocksOptions } from '../../plugins/locks/index.ts'
import { assertIdle } from '../../plugins/testing.ts'

/** An app with locks, closed with the test, which fails if a lock is left. */
export async function startLocks (t: Test, options: LocksOptions = {}, server: FastifyServerOptions = {}): Promise<FastifyInstance> {
  const app = Fastify(server) as unknown as FastifyInstance
  t.teardown(async () => {
    await app.close()
    await assertIdle(app)
  })
  await app.register(locks, options)
  return app
}

/** Lets promises that are settled go on. */
export async function turn (): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
}
