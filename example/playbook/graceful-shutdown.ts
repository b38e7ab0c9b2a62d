// Graceful shutdown: in which order things end.
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

export interface Database {
  /** Rejects once it is closed. */
  write: (row: string) => Promise<void>
  close: () => void
}

declare module 'fastify' {
  interface FastifyInstance {
    database: Database
  }
}

const databasePlugin = fp<{ database: Database }>(async (app, { database }) => {
  app.decorate('database', database)
  app.addHook('onClose', async () => database.close())
})

/**
 * BAD. A queue of one's own that waits in onClose, as the manual says. But onClose hooks run last registered first: the database,
 * registered after the queue, is closed under the work that the queue still waits for.
 */
export async function bad (app: FastifyInstance, database: Database, rest: () => Promise<void>): Promise<{ stop: () => Promise<unknown> }> {
  const running = new Set<Promise<unknown>>()
  app.addHook('onClose', async () => { await Promise.allSettled(running) })
  await app.register(databasePlugin, { database })
  app.post('/orders', async (_request, reply) => {
    const work = rest().then(() => database.write('order'))
    running.add(work)
    return reply.code(202).send()
  })
  return { stop: () => app.close() }
}

/** GOOD. Requests, then tasks, then workers drain before anything closes, whatever the order of registration. */
export async function good (app: FastifyInstance, database: Database, rest: () => Promise<void>): Promise<{ stop: () => Promise<unknown> }> {
  await app.register(databasePlugin, { database })
  app.post('/orders', async (request, reply) => {
    app.tasks.submit(`order:${request.id}`, () => rest().then(() => database.write('order')))
    return reply.code(202).send()
  })
  return { stop: () => app.lifecycle.shutdown('stop') }
}
