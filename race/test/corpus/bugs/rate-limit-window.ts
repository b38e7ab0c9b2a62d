// A home-made limiter: it reads the count, waits for the client's plan, and writes the count that it read plus one.
import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'A limiter reads a count, awaits the plan of the client, and writes the old count plus one. Overlapping requests pass the limit.'

type Allow = (client: string) => Promise<boolean>

const plans = new Table({ alice: { limit: 2 }, bob: { limit: 1 } })

function serve (allow: Allow): FastifyInstance {
  const app = Fastify()
  app.addHook('preHandler', async (request, reply) => {
    if (!await allow(String(request.headers['x-client']))) await reply.code(429).send({ error: 'too many requests' })
  })
  app.get('/commits', async () => ['fix: a typo'])
  return app
}

function racyApp ({ shared }: Tools): FastifyInstance {
  const windows = shared(new Map<string, number>(), 'windows')
  return serve(async (client) => {
    const count = windows.get(client) ?? 0
    const plan = await plans.find(client)
    if (count >= (plan?.limit ?? 1)) return false
    windows.set(client, count + 1)
    return true
  })
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const windows = shared(new Map<string, number>(), 'windows')
  return serve(async (client) => {
    const plan = await plans.find(client)
    const count = windows.get(client) ?? 0
    if (count >= (plan?.limit ?? 1)) return false
    windows.set(client, count + 1)
    return true
  })
}

export const { racy, fixed } = pair({
  name: 'bugs/rate-limit-window',
  source: 'JhaSourav07/commitpulse#5894',
  requests: ['alice', 'alice', 'bob', 'alice'].map((client) => ({ url: '/commits', headers: { 'x-client': client } })),
  invariant (_app, responses) {
    assert.equal(responses.filter(({ statusCode }) => statusCode === 200).length, 3, 'two requests of alice and one of bob pass')
  }
}, racyApp, fixedApp)
