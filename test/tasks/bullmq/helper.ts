// Apps whose tasks are stored. It defines no test.
import Fastify, { type FastifyInstance } from 'fastify'
import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import tasks, { type RedisToDuplicate, type TasksOptions } from '../../../plugins/tasks/index.ts'
import { assertIdle } from '../../../plugins/testing.ts'
import type { Enqueue } from '../named/engine-contract.ts'

/** Starts an app, which is closed with the test. The app has a prefix of its own, so that tests don't run each other's tasks. */
export async function build (t: Test, server: { client (): RedisToDuplicate }, options: TasksOptions, fastify: object = {}): Promise<FastifyInstance> {
  const app = Fastify(fastify) as unknown as FastifyInstance
  t.teardown(async () => {
    await app.close()
    await assertIdle(app)
  })
  // Longer than on a machine that does nothing else: no test here is about it.
  await app.register(tasks, { redis: options.redis ?? server.client(), prefix: randomUUID(), storeTimeout: 5_000, ...options })
  await app.ready()
  return app
}

export const enqueueOf = (app: FastifyInstance): Enqueue => app.tasks.enqueue.bind(app.tasks) as unknown as Enqueue
/** The calls whose types know only the names of the application. */
export const callsOf = (app: FastifyInstance): Record<'schedule' | 'unschedule', (...args: unknown[]) => Promise<unknown>> => app.tasks as never
