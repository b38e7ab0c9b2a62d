// The racy program of bugs/cooldown.ts, as an application that knows no detector: state in a constant of the module.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'

const COOLDOWN = 60_000
const lastNotified: Record<string, number> = {}
const outbox: string[] = []

async function sendMail (to: string): Promise<void> {
  await sleep(1) // connects to the mail server
  outbox.push(to)
}

async function notify (user: string): Promise<boolean> {
  const last = lastNotified[user]
  if (last !== undefined && Date.now() - last < COOLDOWN) return false
  await sendMail(user)
  lastNotified[user] = Date.now()
  return true
}

export function build (): FastifyInstance {
  const app = Fastify()
  app.post<{ Params: { user: string } }>('/notify/:user', async (request) => ({ sent: await notify(request.params.user) }))
  app.get('/outbox', async () => outbox)
  return app
}
