/** True in a thread of ours: an app that finds itself in one was started by its own jobs file. */
export const threadMark = Symbol.for('fastify-concurrency.thread')
