// errgroup: Promise.all() forgets what it has started as soon as one of it fails.
import type { FastifyPluginAsync } from 'fastify'

export interface Options {
  /** The parts of an answer; each heeds its signal. */
  parts: ReadonlyArray<(signal?: AbortSignal) => Promise<unknown>>
}

/** BAD. The answer is an error, and the other parts run on: for nobody, unbounded, their own errors lost. */
export const bad: FastifyPluginAsync<Options> = async (app, { parts }) => {
  app.get('/report', async () => Promise.all(parts.map((part) => part())))
}

/**
 * GOOD. The first error aborts the others, and the answer waits until they have ended. So does the client's leaving.
 * No more than `limit` run at once.
 */
export const good: FastifyPluginAsync<Options> = async (app, { parts }) => {
  app.get('/report', async () => app.tasks.group({ limit: 4 }).map(parts, (part, { signal }) => part(signal)))
}
