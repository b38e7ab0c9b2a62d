// A plugin keeps the event of the current request in a variable of its own, for code that has no request at hand.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'A hook stores a value of the request in a variable of the plugin, and the handler reads it after an await. It gets the value of another request.'

interface Event { tenant: string }

const eventOf = (request: FastifyRequest): Event => ({ tenant: String(request.headers['x-tenant']) })

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const current = shared({ event: null as Event | null }, 'current')
  app.addHook('onRequest', async (request) => {
    current.event = eventOf(request)
  })
  app.get('/bucket', async () => {
    await sleep(1) // asks for the region
    return { tenant: current.event?.tenant }
  })
  return app
}

function fixedApp (): FastifyInstance {
  const app = Fastify()
  const events = new WeakMap<FastifyRequest, Event>()
  app.addHook('onRequest', async (request) => {
    events.set(request, eventOf(request))
  })
  app.get('/bucket', async (request) => {
    await sleep(1) // asks for the region
    return { tenant: events.get(request)?.tenant }
  })
  return app
}

const tenants = ['acme', 'globex', 'initech']

export const { racy, fixed } = pair({
  name: 'bugs/plugin-variable',
  source: 'fastify/aws-lambda-fastify#254',
  requests: tenants.map((tenant) => ({ url: '/bucket', headers: { 'x-tenant': tenant } })),
  invariant (_app, responses) {
    assert.deepEqual(responses.map((response) => response.json<Event>().tenant), tenants)
  }
}, racyApp, fixedApp)
