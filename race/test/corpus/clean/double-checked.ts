import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'The first check is only a short cut. The second check is made while the mutex is held, and decides.'

interface Model { weights: number }

function build ({ shared, locks }: Tools): FastifyInstance {
  const app = Fastify()
  let loads = 0
  const holder = shared({ model: null as Model | null }, 'holder')

  async function loadModel (): Promise<Model> {
    await sleep(1)
    return { weights: ++loads }
  }

  async function model (): Promise<Model> {
    if (holder.model === null) {
      await locks.mutex('model', async () => {
        if (holder.model === null) holder.model = await loadModel()
      })
    }
    return holder.model!
  }

  app.get('/predict', async () => ({ weights: (await model()).weights }))
  return app
}

export const program: Program = {
  name: 'clean/double-checked',
  source: 'pattern: double-checked locking',
  build,
  requests: [{ url: '/predict' }, { url: '/predict' }, { url: '/predict' }],
  invariant (_app, responses) {
    assert.deepEqual(responses.map((response) => response.json<Model>().weights), [1, 1, 1])
  }
}
