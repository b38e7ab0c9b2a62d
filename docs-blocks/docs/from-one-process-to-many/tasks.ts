// tasks.ts
import { defineTasks } from 'fastify-concurrency/tasks'
import { setTimeout as sleep } from 'node:timers/promises'

export const tasks = defineTasks({
  report: {
    handler: async ({ month }: { month: string }, { signal, idempotencyKey }) => {
      await sleep(2_000, undefined, { signal })          // reads a database, writes a file
      console.log(`process ${process.pid}: report of ${month}, ${idempotencyKey}`)
    },
    retries: 3
  }
})

declare module 'fastify-concurrency' {
  interface Register { tasks: typeof tasks }
}
