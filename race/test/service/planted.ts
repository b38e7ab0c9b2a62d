// Loaded before the example service by service.ts: a route with a race, which shows that the run would have found one of the service.
import { subscribe } from 'node:diagnostics_channel'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'

let planted = 0

subscribe('fastify.initialization', (message) => {
  const { fastify: app } = message as { fastify: FastifyInstance }
  app.get('/planted', async () => {
    const before = planted
    await sleep(100)
    planted = before + 1
    return { planted }
  })
})
