// The named tasks: with REDIS_URL they are stored, and run in any process of the fleet.
import { defineTasks } from 'fastify-concurrency/tasks'
import { Type, type Static } from '@fastify/type-provider-typebox'

const Event = Type.Object({ id: Type.String(), type: Type.String(), data: Type.Unknown() })

export const tasks = defineTasks({
  webhook: {
    schema: Event,
    retries: 5,
    timeout: 10_000,
    handler: async (event: Static<typeof Event>, { log }) => {
      log.info({ type: event.type }, 'webhook handled')
      return event.type
    }
  }
})

declare module 'fastify-concurrency' {
  interface Register { tasks: typeof tasks }
}
