import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'The first change schedules a flush and sets a flag in the same step. The flush resets the flag and takes all changes in one step.'

interface Pending { scheduled: boolean, keys: string[], flushes: number, flushed: string[] }

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const pending: Pending = shared({ scheduled: false, keys: [], flushes: 0, flushed: [] }, 'pending')

  function flush (): void {
    pending.scheduled = false
    pending.flushed.push(...pending.keys)
    pending.keys = []
    pending.flushes++
  }

  app.put<{ Params: { key: string } }>('/dirty/:key', async ({ params }) => {
    pending.keys.push(params.key)
    if (!pending.scheduled) {
      pending.scheduled = true
      setTimeout(flush, 1)
    }
    return 'noted'
  })
  app.decorate('pending', pending)
  return app
}

export const program: Program = {
  name: 'clean/coalesced-flush',
  source: 'pattern: debounce',
  build,
  requests: ['a', 'b', 'c'].map((key) => ({ method: 'PUT', url: `/dirty/${key}` })),
  async invariant (app) {
    const pending = app.getDecorator<Pending>('pending')
    while (pending.scheduled) await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual([...pending.flushed].sort(), ['a', 'b', 'c'])
    assert.ok(pending.flushes <= 3)
  }
}
