import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'A histogram of response sizes is incremented in one step in a hook, after the handler has awaited.'

const bounds = [10, 100, Infinity]

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const histogram = shared({ counts: [0, 0, 0], sum: 0 }, 'histogram')
  const observe = (value: number): void => {
    const index = bounds.findIndex((bound) => value <= bound)
    histogram.counts[index] = (histogram.counts[index] ?? 0) + 1
    histogram.sum += value
  }
  app.addHook('onSend', async (request, _reply, payload) => {
    if (request.url.startsWith('/text')) observe(String(payload).length)
  })
  app.get<{ Params: { length: string } }>('/text/:length', async ({ params }) => {
    await sleep(1)
    return 'x'.repeat(Number(params.length))
  })
  app.get('/metrics', async () => histogram)
  return app
}

export const program: Program = {
  name: 'clean/histogram',
  source: 'pattern: metric',
  build,
  requests: [5, 50, 500, 7].map((length) => ({ url: `/text/${length}` })),
  async invariant (app) {
    assert.deepEqual((await app.inject('/metrics')).json(), { counts: [2, 1, 1], sum: 562 })
  }
}
