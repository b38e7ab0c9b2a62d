// A proxy chooses its upstreams in turn. It checks the health of the next one before it moves on.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'A proxy reads the index of the next upstream, awaits a health check, and writes the index plus one. All requests go to one upstream.'

class Balancer {
  readonly upstreams = ['u0', 'u1', 'u2']
  readonly cursor: { index: number }

  constructor (cursor: { index: number }) {
    this.cursor = cursor
  }

  async isHealthy (upstream: string): Promise<boolean> {
    return sleep(1, upstream !== '')
  }

  async chooseLate (): Promise<string> {
    for (;;) {
      const { index } = this.cursor
      const upstream = this.upstreams[index]!
      const healthy = await this.isHealthy(upstream)
      this.cursor.index = (index + 1) % this.upstreams.length
      if (healthy) return upstream
    }
  }

  async chooseAtOnce (): Promise<string> {
    for (;;) {
      const upstream = this.upstreams[this.cursor.index]!
      this.cursor.index = (this.cursor.index + 1) % this.upstreams.length
      if (await this.isHealthy(upstream)) return upstream
    }
  }
}

const build = (choose: 'chooseLate' | 'chooseAtOnce') => ({ shared }: Tools): FastifyInstance => {
  const app = Fastify()
  const balancer = new Balancer(shared({ index: 0 }, 'balancer.cursor'))
  app.get('/*', async () => ({ upstream: await balancer[choose]() }))
  return app
}

export const { racy, fixed } = pair({
  name: 'unseen/round-robin',
  source: 'pattern: round-robin index',
  requests: [{ url: '/a' }, { url: '/b' }, { url: '/c' }],
  invariant (_app, responses) {
    assert.deepEqual(responses.map((response) => response.json<{ upstream: string }>().upstream).sort(), ['u0', 'u1', 'u2'])
  }
}, build('chooseLate'), build('chooseAtOnce'))
