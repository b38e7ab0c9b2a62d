// A cache that fills itself from an origin. A value that is set while the fetch is under way is newer than what the fetch brings.
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'A read that misses the cache fetches from the origin and stores the answer, also if the value was set in the meantime.'

/** Starts an origin that always answers with the old price, and stops it when the app is closed. */
async function startOrigin (app: FastifyInstance): Promise<string> {
  const origin = createServer((_request, response) => { response.setHeader('connection', 'close').end('{"price":10}') })
  await new Promise<void>((resolve) => origin.listen(0, '127.0.0.1', resolve))
  app.addHook('onClose', async () => { origin.close() })
  return `http://127.0.0.1:${(origin.address() as AddressInfo).port}`
}

async function racyApp ({ shared }: Tools): Promise<FastifyInstance> {
  const app = Fastify()
  const url = await startOrigin(app)
  const prices = shared(new Map<string, number>(), 'prices')
  app.get<{ Params: { sku: string } }>('/prices/:sku', async ({ params: { sku } }) => {
    if (!prices.has(sku)) {
      const response = await fetch(`${url}/${sku}`)
      const { price } = await response.json() as { price: number }
      prices.set(sku, price)
    }
    return prices.get(sku)
  })
  app.put<{ Params: { sku: string }, Body: { price: number } }>('/prices/:sku', async ({ params, body }) => {
    prices.set(params.sku, body.price)
    return 'set'
  })
  return app
}

async function fixedApp ({ shared }: Tools): Promise<FastifyInstance> {
  const app = Fastify()
  const url = await startOrigin(app)
  const prices = shared(new Map<string, number>(), 'prices')
  app.get<{ Params: { sku: string } }>('/prices/:sku', async ({ params: { sku } }) => {
    if (!prices.has(sku)) {
      const response = await fetch(`${url}/${sku}`)
      const { price } = await response.json() as { price: number }
      if (!prices.has(sku)) prices.set(sku, price)
    }
    return prices.get(sku)
  })
  app.put<{ Params: { sku: string }, Body: { price: number } }>('/prices/:sku', async ({ params, body }) => {
    prices.set(params.sku, body.price)
    return 'set'
  })
  return app
}

export const { racy, fixed } = pair({
  name: 'bugs/stale-fetch',
  source: 'khromov/mochi#348',
  requests: [{ url: '/prices/a1' }, { method: 'PUT', url: '/prices/a1', payload: { price: 12 } }],
  async invariant (app) {
    assert.equal((await app.inject('/prices/a1')).json(), 12, 'what was set stays')
  }
}, racyApp, fixedApp)
