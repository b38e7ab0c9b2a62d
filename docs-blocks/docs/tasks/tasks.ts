// tasks.ts
import { defineTasks } from 'fastify-concurrency/tasks'

export const tasks = defineTasks({
  welcome: {
    handler: async ({ to }: { to: string }, { signal, log }) => {
      const response = await fetch('https://mail.example.com/send', { method: 'POST', body: to, signal })
      log.info({ status: response.status }, 'welcome mail')
    },
    schema: { type: 'object', required: ['to'], properties: { to: { type: 'string', format: 'email' } } },
    retries: 5
  }
})

declare module 'fastify-concurrency' {
  interface Register { tasks: typeof tasks }   // gives enqueue() its types
}
