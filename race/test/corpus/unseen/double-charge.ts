// An idempotency key protects a payment: a payment with a known key returns the stored answer.
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'A payment looks for its idempotency key, awaits the payment service, and stores the answer. A retry that overlaps charges the card again.'

interface Charge { charge: string }

/** Starts a payment service that numbers its charges, and stops it when the app is closed. */
async function startPayments (app: FastifyInstance): Promise<() => Promise<Charge>> {
  let charges = 0
  const service = createServer((_request, response) => {
    response.setHeader('connection', 'close').end(JSON.stringify({ charge: `ch_${++charges}` }))
  })
  await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve))
  app.addHook('onClose', async () => { service.close() })
  const url = `http://127.0.0.1:${(service.address() as AddressInfo).port}/charges`
  return async () => {
    const response = await fetch(url, { method: 'POST' })
    return await response.json() as Charge
  }
}

async function racyApp ({ shared }: Tools): Promise<FastifyInstance> {
  const app = Fastify()
  const charge = await startPayments(app)
  const answers = shared(new Map<string, Charge>(), 'answers')
  app.post('/payments', async (request) => {
    const key = String(request.headers['idempotency-key'])
    let answer = answers.get(key)
    if (answer === undefined) {
      answer = await charge()
      answers.set(key, answer)
    }
    return answer
  })
  return app
}

async function fixedApp ({ shared, locks }: Tools): Promise<FastifyInstance> {
  const app = Fastify()
  const charge = await startPayments(app)
  const answers = shared(new Map<string, Charge>(), 'answers')
  app.post('/payments', async (request) => {
    const key = String(request.headers['idempotency-key'])
    return locks.mutex(key, async () => {
      let answer = answers.get(key)
      if (answer === undefined) {
        answer = await charge()
        answers.set(key, answer)
      }
      return answer
    })
  })
  return app
}

export const { racy, fixed } = pair({
  name: 'unseen/double-charge',
  source: 'pattern: cache stampede that charges twice',
  requests: [1, 2].map(() => ({ method: 'POST', url: '/payments', headers: { 'idempotency-key': 'k1' } })),
  invariant (_app, [first, second]) {
    assert.deepEqual(first!.json(), second!.json(), 'a retry gets the answer of the first attempt')
  }
}, racyApp, fixedApp)
