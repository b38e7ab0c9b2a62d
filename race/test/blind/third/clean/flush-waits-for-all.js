// percy/cli#1440: a flush waits for all snapshots that are queued, not only for the last one.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  const pending = new Map()
  const uploaded = []
  let sequence = 0

  app.post('/snapshot/:name', async ({ params: { name } }) => {
    const id = ++sequence
    const upload = sleep(2).then(() => { uploaded.push(name) }).finally(() => { pending.delete(id) })
    pending.set(id, upload)
    return 'queued'
  })
  app.post('/flush', async () => {
    while (pending.size > 0) await Promise.all(pending.values())
    return 'flushed'
  })
  return app
}

export const requests = ['/snapshot/a', '/snapshot/b', '/flush'].map((url) => ({ method: 'POST', url }))
