import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'The index moves on in the same step in which it is read. The await comes afterwards.'

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const workers = ['w0', 'w1']
  const ring = shared({ next: 0 }, 'ring')
  const pick = (): string => {
    const worker = workers[ring.next]!
    ring.next = (ring.next + 1) % workers.length
    return worker
  }
  app.get('/', async () => {
    const worker = pick()
    await sleep(1)
    return { worker, next: workers[ring.next] }
  })
  return app
}

export const program: Program = {
  name: 'clean/round-robin-first',
  source: 'pattern: round-robin index',
  build,
  requests: Array.from({ length: 4 }, () => ({ url: '/' })),
  invariant (_app, responses) {
    assert.deepEqual(responses.map((response) => response.json<{ worker: string }>().worker).sort(), ['w0', 'w0', 'w1', 'w1'])
  }
}
