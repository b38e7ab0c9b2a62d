// A server that keeps one browser for each session. A status in a nested object says whether a browser was started.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'The status of a session is checked, a browser is started, and only then the status changes. Two requests start two browsers.'

interface Client { status: 'CLOSED' | 'INITIALIZING' | 'CONNECTED', browser?: number }

async function startBrowser (started: number[]): Promise<number> {
  const browser = started.push(started.length + 1)
  await sleep(1)
  return browser
}

class Sessions {
  readonly clients: Record<string, Client>
  readonly started: number[] = []

  constructor (clients: Record<string, Client>) {
    this.clients = clients
  }

  async openLate (name: string): Promise<Client> {
    this.clients[name] ??= { status: 'CLOSED' }
    const client = this.clients[name]
    if (client.status !== 'CLOSED') return client
    client.browser = await startBrowser(this.started)
    client.status = 'CONNECTED'
    return client
  }

  async openAtOnce (name: string): Promise<Client> {
    this.clients[name] ??= { status: 'CLOSED' }
    const client = this.clients[name]
    if (client.status !== 'CLOSED') return client
    client.status = 'INITIALIZING'
    client.browser = await startBrowser(this.started)
    client.status = 'CONNECTED'
    return client
  }
}

const build = (open: 'openLate' | 'openAtOnce') => ({ shared }: Tools): FastifyInstance => {
  const app = Fastify()
  const sessions = new Sessions(shared({}, 'clients'))
  app.post<{ Params: { name: string } }>('/:name/start-session', async ({ params }) => {
    const { status } = await sessions[open](params.name)
    return { status }
  })
  app.get('/browsers', async () => sessions.started.length)
  return app
}

export const { racy, fixed } = pair({
  name: 'bugs/session-init',
  source: 'wppconnect-team/wppconnect-server#2436',
  requests: [{ method: 'POST', url: '/shop/start-session' }, { method: 'POST', url: '/shop/start-session' }],
  async invariant (app) {
    assert.equal((await app.inject('/browsers')).json(), 1)
  }
}, build('openLate'), build('openAtOnce'))
