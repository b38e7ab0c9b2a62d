// The list of users who are online is replaced by a filtered copy when one leaves.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'Leaving filters the list of users into a copy, awaits a farewell message, and replaces the list. Who joined in between has vanished.'

const announce = async (_text: string): Promise<void> => { await sleep(1) }

interface Presence { online: string[] }

function addJoin (app: FastifyInstance, presence: Presence): void {
  app.post<{ Params: { user: string } }>('/online/:user', async ({ params: { user } }) => {
    await announce(`${user} joins`)
    presence.online.push(user)
    return 'joined'
  })
  app.get('/online', async () => presence.online)
}

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const presence: Presence = shared({ online: ['ann', 'ben'] }, 'presence')
  app.delete<{ Params: { user: string } }>('/online/:user', async ({ params: { user } }) => {
    const remaining = presence.online.filter((name) => name !== user)
    await announce(`${user} leaves`)
    presence.online = remaining
    return 'left'
  })
  addJoin(app, presence)
  return app
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const presence: Presence = shared({ online: ['ann', 'ben'] }, 'presence')
  app.delete<{ Params: { user: string } }>('/online/:user', async ({ params: { user } }) => {
    await announce(`${user} leaves`)
    presence.online = presence.online.filter((name) => name !== user)
    return 'left'
  })
  addJoin(app, presence)
  return app
}

export const { racy, fixed } = pair({
  name: 'unseen/presence',
  source: 'pattern: filter, await, replace',
  requests: [{ method: 'DELETE', url: '/online/ann' }, { method: 'POST', url: '/online/cat' }],
  async invariant (app) {
    assert.deepEqual((await app.inject('/online')).json(), ['ben', 'cat'])
  }
}, racyApp, fixedApp)
