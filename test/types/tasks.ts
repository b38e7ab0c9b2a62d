// What defineTasks() accepts.
import { defineTasks } from 'fastify-concurrency/tasks'

const handler = async ({ to }: { to: string }): Promise<string> => to

defineTasks({ mail: { handler, retries: 3, concurrency: { perKey: 2 } } })
// @ts-expect-error: a number is a bound of the process, which is the plugin's option
defineTasks({ mail: { handler, concurrency: 2 } })
// @ts-expect-error: misspelt
defineTasks({ mail: { handler, concurrency: { perkey: 2 } } })
// @ts-expect-error: without its bound
defineTasks({ mail: { handler, concurrency: {} } })
