// The racy program of bugs/flag.ts, as an application that knows no detector: a variable that a plugin closes over.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

async function exportPlugin (app) {
  let running = false
  app.post('/export', async (request, reply) => {
    if (running) return reply.code(409).send({ error: 'an export is running' })
    await sleep(1) // prepares
    running = true
    await sleep(1) // writes
    return { done: true }
  })
}

export async function build () {
  const app = Fastify()
  await app.register(exportPlugin, { prefix: '/admin' })
  return app
}
