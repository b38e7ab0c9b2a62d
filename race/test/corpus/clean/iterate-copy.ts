import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'The loop that awaits runs over a copy of the array. Others may splice the array meanwhile.'

interface Listener { id: number, received: string[] }

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const listeners: Listener[] = shared([1, 2, 3].map((id) => ({ id, received: [] })), 'listeners')
  app.post<{ Params: { text: string } }>('/say/:text', async ({ params: { text } }) => {
    const told: number[] = []
    for (const listener of listeners.slice()) {
      await sleep(1)
      listener.received.push(text)
      told.push(listener.id)
    }
    return told
  })
  app.delete<{ Params: { id: string } }>('/listeners/:id', async ({ params }) => {
    const index = listeners.findIndex(({ id }) => id === Number(params.id))
    if (index !== -1) listeners.splice(index, 1)
    return listeners.length
  })
  return app
}

export const program: Program = {
  name: 'clean/iterate-copy',
  source: 'pattern: iteration over a copy',
  build,
  requests: [{ method: 'POST', url: '/say/hello' }, { method: 'DELETE', url: '/listeners/1' }, { method: 'POST', url: '/say/bye' }],
  invariant (_app, responses) {
    for (const response of [responses[0]!, responses[2]!]) assert.deepEqual(response.json<number[]>().filter((id) => id !== 1), [2, 3])
  }
}
