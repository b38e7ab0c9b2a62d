// tasks.ts
import { defineTasks } from 'fastify-concurrency/tasks'

interface Event { id: string, type: string }

export const tasks = defineTasks({
  webhook: {
    handler: async (event: Event, { log, attempt }) => { log.info({ type: event.type, attempt }, 'webhook') },
    schema: { type: 'object', required: ['id', 'type'], properties: { id: { type: 'string' }, type: { type: 'string' } } },
    retries: 5,
    timeout: 10_000
  }
})

declare module 'fastify-concurrency' {
  interface Register { tasks: typeof tasks }
}
