// A notification with a cooldown: the time of the last one is recorded after the mail was sent.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'The cooldown of a notification is checked before, and recorded after, the mail was sent. Overlapping requests send it twice.'

const COOLDOWN = 60_000

async function sendMail (outbox: string[], to: string): Promise<void> {
  await sleep(1) // connects to the mail server
  outbox.push(to)
}

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const outbox: string[] = []
  const lastNotified: Record<string, number> = shared({}, 'lastNotified')
  app.post<{ Params: { user: string } }>('/notify/:user', async (request) => {
    const { user } = request.params
    const last = lastNotified[user]
    if (last !== undefined && Date.now() - last < COOLDOWN) return { sent: false }
    await sendMail(outbox, user)
    lastNotified[user] = Date.now()
    return { sent: true }
  })
  app.get('/outbox', async () => outbox)
  return app
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const outbox: string[] = []
  const lastNotified: Record<string, number> = shared({}, 'lastNotified')
  app.post<{ Params: { user: string } }>('/notify/:user', async (request) => {
    const { user } = request.params
    const last = lastNotified[user]
    if (last !== undefined && Date.now() - last < COOLDOWN) return { sent: false }
    lastNotified[user] = Date.now()
    await sendMail(outbox, user)
    return { sent: true }
  })
  app.get('/outbox', async () => outbox)
  return app
}

export const { racy, fixed } = pair({
  name: 'bugs/cooldown',
  source: 'JhaSourav07/commitpulse#9035',
  requests: ['ann', 'ben', 'ann'].map((user) => ({ method: 'POST', url: `/notify/${user}` })),
  async invariant (app) {
    const outbox = (await app.inject('/outbox')).json<string[]>()
    assert.deepEqual(outbox.sort(), ['ann', 'ben'])
  }
}, racyApp, fixedApp)
