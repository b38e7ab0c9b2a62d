// Loaded before the example service by service.ts. It lists the routes, and at its end the process says which ones no request has reached: silence
// about those would say nothing.
import { subscribe } from 'node:diagnostics_channel'
import type { FastifyInstance } from 'fastify'

const unreached = new Set<string>()
/** Pages and files: a GET without parameters is all that they need. */
const plain: string[] = []

subscribe('fastify.initialization', (message) => {
  const { fastify: app } = message as { fastify: FastifyInstance }
  app.addHook('onRoute', ({ method, url, schema }) => {
    if (method === 'HEAD') return
    unreached.add(`${String(method)} ${url}`)
    if (method === 'GET' && schema?.querystring === undefined && !url.endsWith('/events')) plain.push(url)
  })
  app.get('/routes', async () => plain)
  app.addHook('onRequest', async ({ method, routeOptions: { url } }) => { unreached.delete(`${method} ${url}`) })
})

process.on('exit', () => {
  if (unreached.size > 0) process.stderr.write(`not requested: ${[...unreached].join(', ')}\n`)
})
