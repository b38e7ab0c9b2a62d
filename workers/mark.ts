/**
 * The key on `globalThis`, in a thread of ours, of the function that an app calls with an error if its own jobs file
 * has started it there.
 */
export const threadMark = Symbol.for('fastify-concurrency.thread')

export type Refuse = (error: Error) => void
