import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'The promise of an initialisation is assigned with ??= in one step. An initialisation that fails may be repeated.'

interface Index { words: string[] }

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  let attempts = 0
  const search = shared({ index: undefined as Promise<Index> | undefined }, 'search')

  async function buildIndex (): Promise<Index> {
    attempts++
    await sleep(1)
    if (attempts === 1) throw new Error('the disk is busy')
    return { words: ['fastify', 'race'] }
  }

  function ready (): Promise<Index> {
    search.index ??= buildIndex().catch((error: unknown) => {
      search.index = undefined
      throw error
    })
    return search.index
  }

  app.get('/search', async (_request, reply) => {
    try {
      return await ready()
    } catch {
      return reply.code(503).send({ error: 'not ready' })
    }
  })
  app.get('/attempts', async () => attempts)
  return app
}

export const program: Program = {
  name: 'clean/once-init',
  source: 'pattern: once',
  build,
  requests: [{ url: '/search' }, { url: '/search' }, { url: '/search' }],
  async invariant (app) {
    assert.equal((await app.inject('/search')).statusCode, 200)
    assert.equal((await app.inject('/attempts')).json(), 2)
  }
}
