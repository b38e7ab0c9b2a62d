import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'A status page reads a counter, awaits, and sends what it read. A response may be older than the state, since nothing is written from it.'

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const labels = new Table({ jobs: 'Jobs' })
  const state = shared({ jobs: 0, served: 0 }, 'state')
  app.get('/status', async () => {
    const { jobs } = state
    const label = await labels.find('jobs')
    state.served += 1
    return { text: `${label}: ${jobs}` }
  })
  app.post('/jobs', async () => {
    const label = await labels.find('jobs')
    state.jobs += 1
    return { label, jobs: state.jobs }
  })
  app.get('/state', async () => state)
  return app
}

export const program: Program = {
  name: 'clean/stale-response',
  source: 'pattern: stale value in a response only',
  build,
  requests: [{ url: '/status' }, { method: 'POST', url: '/jobs' }, { url: '/status' }, { method: 'POST', url: '/jobs' }],
  async invariant (app) {
    assert.deepEqual((await app.inject('/state')).json(), { jobs: 2, served: 2 })
  }
}
