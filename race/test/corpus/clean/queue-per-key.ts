import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'Work on one key is chained to the promise of the work before it. The chain is extended without an await.'

class KeyedQueue {
  readonly tails: Map<string, Promise<unknown>>

  constructor (tails: Map<string, Promise<unknown>>) {
    this.tails = tails
  }

  add<T> (key: string, work: () => Promise<T>): Promise<T> {
    const previous = this.tails.get(key) ?? Promise.resolve()
    const next = previous.then(work, work)
    this.tails.set(key, next)
    const forget = (): void => { if (this.tails.get(key) === next) this.tails.delete(key) }
    next.then(forget, forget)
    return next
  }
}

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const queue = new KeyedQueue(shared(new Map<string, Promise<unknown>>(), 'tails'))
  const scores = shared(new Map<string, number>(), 'scores')
  app.post<{ Params: { player: string } }>('/score/:player', async ({ params: { player } }) => queue.add(player, async () => {
    const score = scores.get(player) ?? 0
    await sleep(1)
    scores.set(player, score + 1)
    return { score: score + 1 }
  }))
  return app
}

export const program: Program = {
  name: 'clean/queue-per-key',
  source: 'pattern: queue per key',
  build,
  requests: ['ann', 'ann', 'ben'].map((player) => ({ method: 'POST', url: `/score/${player}` })),
  invariant (_app, responses) {
    assert.deepEqual(responses.map((response) => response.json<{ score: number }>().score).sort(), [1, 1, 2])
  }
}
