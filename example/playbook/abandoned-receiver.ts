// Abandoned receiver: whoever stops waiting for an answer must tell the one who makes it.
import type { FastifyPluginAsync } from 'fastify'

export interface Options {
  /** The same question to several servers; each heeds its signal. */
  replicas: ReadonlyArray<(signal?: AbortSignal) => Promise<unknown>>
}

/** BAD. In Go a goroutine blocked for ever on a channel that nobody reads; here the losers hold their sockets, and finish for nobody. */
export const bad: FastifyPluginAsync<Options> = async (app, { replicas }) => {
  app.get('/quote', async () => Promise.race(replicas.map((replica) => replica())))
}

/** GOOD. The losers' signal aborts, and the answer waits until they have let go. */
export const good: FastifyPluginAsync<Options> = async (app, { replicas }) => {
  app.get('/quote', async () => app.tasks.group().race(replicas.map((replica) => ({ signal }) => replica(signal))))
}
