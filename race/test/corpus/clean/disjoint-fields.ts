import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'Two routes change different fields of one object after an await. Neither writes a field that the other one reads.'

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const profile = shared({ name: 'ann', theme: 'light', renamed: 0, repainted: 0 }, 'profile')
  app.put<{ Params: { name: string } }>('/name/:name', async ({ params }) => {
    const old = profile.name
    await sleep(1)
    profile.name = params.name
    profile.renamed++
    return { old }
  })
  app.put<{ Params: { theme: string } }>('/theme/:theme', async ({ params }) => {
    const old = profile.theme
    await sleep(1)
    profile.theme = params.theme
    profile.repainted++
    return { old }
  })
  app.get('/profile', async () => profile)
  return app
}

export const program: Program = {
  name: 'clean/disjoint-fields',
  source: 'pattern: disjoint fields',
  build,
  requests: [{ method: 'PUT', url: '/name/Anna' }, { method: 'PUT', url: '/theme/dark' }],
  async invariant (app) {
    assert.deepEqual((await app.inject('/profile')).json(), { name: 'Anna', theme: 'dark', renamed: 1, repainted: 1 })
  }
}
