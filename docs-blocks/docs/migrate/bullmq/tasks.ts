// tasks.ts
import { defineTasks } from 'fastify-concurrency/tasks'

export const tasks = defineTasks({
  welcome: {
    handler: async ({ to }: { to: string }, { signal }) => {
      await fetch('https://mail.example.com/send', { method: 'POST', body: to, signal })
    },
    retries: 5,
    backoff: { base: 500, max: 30_000 }
  }
})

declare module 'fastify-concurrency' {
  interface Register { tasks: typeof tasks }
}
