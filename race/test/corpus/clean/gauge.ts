import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'A gauge of requests in flight goes up before the await and down after it. Each step is atomic.'

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const gauge = shared({ inFlight: 0, highest: 0 }, 'gauge')
  app.addHook('onRequest', async () => {
    gauge.inFlight++
    gauge.highest = Math.max(gauge.highest, gauge.inFlight)
  })
  app.addHook('onResponse', async () => { gauge.inFlight-- })
  app.get('/slow', async () => {
    await sleep(1)
    return { inFlight: gauge.inFlight }
  })
  app.decorate('gauge', gauge)
  return app
}

export const program: Program = {
  name: 'clean/gauge',
  source: 'race.md: a gauge',
  build,
  requests: [{ url: '/slow' }, { url: '/slow' }, { url: '/slow' }],
  invariant (app) {
    assert.equal(app.getDecorator<{ inFlight: number }>('gauge').inFlight, 0)
  }
}
