/** On `globalThis` in a thread of ours: what an app that was started there, by its own jobs file, calls with the error that says so. */
export const threadMark = Symbol.for('fastify-concurrency.thread')

export type Refuse = (error: Error) => void
