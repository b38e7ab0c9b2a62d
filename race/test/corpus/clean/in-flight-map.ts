import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'The promise of a refresh is stored before anyone awaits it, and deleted when it has settled. Nobody can start a second one.'

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const inFlight = shared(new Map<string, Promise<string>>(), 'inFlight')
  let refreshes = 0
  const refresh = async (connection: string): Promise<string> => {
    const number = ++refreshes
    await sleep(1)
    return `${connection}:${number}`
  }
  app.get<{ Params: { id: string } }>('/credentials/:id', async ({ params: { id } }) => {
    const running = inFlight.get(id)
    if (running) return { token: await running }
    const promise = refresh(id).finally(() => inFlight.delete(id))
    inFlight.set(id, promise)
    return { token: await promise }
  })
  app.get('/in-flight', async () => inFlight.size)
  return app
}

export const program: Program = {
  name: 'clean/in-flight-map',
  source: 'NangoHQ/nango#3884',
  build,
  requests: ['c1', 'c1', 'c2'].map((id) => ({ url: `/credentials/${id}` })),
  async invariant (app, responses) {
    assert.ok(responses.every(({ statusCode }) => statusCode === 200))
    assert.equal((await app.inject('/in-flight')).json(), 0)
  }
}
