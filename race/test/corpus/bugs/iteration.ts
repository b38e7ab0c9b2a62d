// A broadcast iterates over the subscribers and awaits each delivery, while others unsubscribe.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'A broadcast awaits in a loop over an array from which another request removes an element. The loop skips a subscriber.'

const deliver = async (to: string, delivered: string[]): Promise<void> => {
  await sleep(1)
  delivered.push(to)
}

function addUnsubscribe (app: FastifyInstance, subscribers: string[]): void {
  app.delete<{ Params: { name: string } }>('/subscribers/:name', async ({ params }) => {
    const index = subscribers.indexOf(params.name)
    if (index >= 0) subscribers.splice(index, 1)
    return 'removed'
  })
}

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const subscribers = shared(['ann', 'ben', 'cat', 'dan'], 'subscribers')
  app.post('/broadcast', async () => {
    const delivered: string[] = []
    for (const subscriber of subscribers) await deliver(subscriber, delivered)
    return delivered
  })
  addUnsubscribe(app, subscribers)
  return app
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const subscribers = shared(['ann', 'ben', 'cat', 'dan'], 'subscribers')
  app.post('/broadcast', async () => {
    const delivered: string[] = []
    for (const subscriber of [...subscribers]) await deliver(subscriber, delivered)
    return delivered
  })
  addUnsubscribe(app, subscribers)
  return app
}

export const { racy, fixed } = pair({
  name: 'bugs/iteration',
  source: 'playbook: iteration',
  requests: [{ method: 'POST', url: '/broadcast' }, { method: 'DELETE', url: '/subscribers/ann' }],
  invariant (_app, [broadcast]) {
    const delivered = broadcast!.json<string[]>()
    assert.deepEqual(delivered.filter((name) => name !== 'ann'), ['ben', 'cat', 'dan'], 'who stays subscribed gets the message')
  }
}, racyApp, fixedApp)
