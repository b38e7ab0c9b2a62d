import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'The trace of a request is kept in an AsyncLocalStorage. Helper functions find their own trace, though the storage is one object.'

interface Trace { id: string, spans: string[] }

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const storage = new AsyncLocalStorage<Trace>()
  const traces: Trace[] = shared([], 'traces')

  async function span (name: string): Promise<void> {
    await sleep(1)
    storage.getStore()!.spans.push(name)
  }

  app.get<{ Params: { id: string } }>('/trace/:id', async ({ params: { id } }) => storage.run({ id, spans: [] }, async () => {
    await span('load')
    await span('render')
    const trace = storage.getStore()!
    traces.push(trace)
    return trace
  }))
  return app
}

export const program: Program = {
  name: 'clean/async-local-storage',
  source: 'pattern: state of a request',
  build,
  requests: ['a', 'b', 'c'].map((id) => ({ url: `/trace/${id}` })),
  invariant (_app, responses) {
    for (const [index, id] of ['a', 'b', 'c'].entries()) assert.deepEqual(responses[index]!.json(), { id, spans: ['load', 'render'] })
  }
}
