import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'A new build aborts the build before it. Only the build whose controller is still the current one publishes its result.'

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const site = shared({ building: null as AbortController | null, published: '' }, 'site')
  app.post<{ Params: { commit: string } }>('/build/:commit', async ({ params: { commit } }) => {
    site.building?.abort()
    const own = new AbortController()
    site.building = own
    await sleep(1) // compiles
    if (own.signal.aborted) return { published: false }
    site.published = commit
    site.building = null
    return { published: true }
  })
  app.get('/site', async () => ({ published: site.published, building: site.building !== null }))
  return app
}

export const program: Program = {
  name: 'clean/latest-only',
  source: 'pattern: the latest one wins by abort',
  build,
  requests: ['c1', 'c2', 'c3'].map((commit) => ({ method: 'POST', url: `/build/${commit}` })),
  async invariant (app, responses) {
    const { published, building } = (await app.inject('/site')).json<{ published: string, building: boolean }>()
    assert.equal(building, false)
    const index = ['c1', 'c2', 'c3'].indexOf(published)
    assert.equal(responses[index]?.json<{ published: boolean }>().published, true)
  }
}
