// A circuit breaker that is half open lets one request through, to try the service out.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'A half-open breaker counts its trial after the call. All requests that overlap are trials, and the weak service gets the full load.'

interface Breaker { state: 'half-open' | 'closed', trials: number }

interface Service { running: number, most: number, call (): Promise<string> }

const newService = (): Service => ({
  running: 0,
  most: 0,
  async call () {
    this.running++
    this.most = Math.max(this.most, this.running)
    await sleep(1)
    this.running--
    return 'answer'
  }
})

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const service = newService()
  const breaker: Breaker = shared({ state: 'half-open', trials: 0 }, 'breaker')
  app.get('/report', async (_request, reply) => {
    if (breaker.state === 'half-open') {
      if (breaker.trials >= 1) return reply.code(503).send({ error: 'try again' })
      const answer = await service.call()
      breaker.trials += 1
      return { answer }
    }
    return { answer: await service.call() }
  })
  app.get('/most', async () => service.most)
  return app
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const service = newService()
  const breaker: Breaker = shared({ state: 'half-open', trials: 0 }, 'breaker')
  app.get('/report', async (_request, reply) => {
    if (breaker.state === 'half-open') {
      if (breaker.trials >= 1) return reply.code(503).send({ error: 'try again' })
      breaker.trials += 1
      const answer = await service.call()
      return { answer }
    }
    return { answer: await service.call() }
  })
  app.get('/most', async () => service.most)
  return app
}

export const { racy, fixed } = pair({
  name: 'unseen/circuit-breaker',
  source: 'pattern: half-open circuit breaker',
  requests: [{ url: '/report' }, { url: '/report' }, { url: '/report' }],
  async invariant (app, responses) {
    assert.equal(responses.filter(({ statusCode }) => statusCode === 200).length, 1)
    assert.equal((await app.inject('/most')).json(), 1)
  }
}, racyApp, fixedApp)
