import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'Long polls add a listener and remove it again. A message calls all listeners in one synchronous loop.'

type Listener = (text: string) => void

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const channel = shared({ listeners: new Set<Listener>(), last: '' }, 'channel')
  app.get('/poll', async () => {
    if (channel.last !== '') return { text: channel.last }
    const text = await new Promise<string>((resolve) => {
      const listener: Listener = (said) => {
        channel.listeners.delete(listener)
        resolve(said)
      }
      channel.listeners.add(listener)
    })
    return { text }
  })
  app.post<{ Params: { text: string } }>('/say/:text', async ({ params: { text } }) => {
    await sleep(1)
    channel.last = text
    for (const listener of channel.listeners) listener(text)
    return 'said'
  })
  app.get('/listeners', async () => channel.listeners.size)
  return app
}

export const program: Program = {
  name: 'clean/listeners',
  source: 'pattern: publish and subscribe',
  build,
  requests: [{ url: '/poll' }, { url: '/poll' }, { method: 'POST', url: '/say/hello' }],
  async invariant (app, responses) {
    assert.deepEqual(responses.slice(0, 2).map((response) => response.json()), [{ text: 'hello' }, { text: 'hello' }])
    assert.equal((await app.inject('/listeners')).json(), 0)
  }
}
