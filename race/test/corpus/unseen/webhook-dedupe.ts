// A provider delivers a webhook at least once. A Set remembers the events that were handled.
import assert from 'node:assert/strict'
import { setImmediate as nextTurn } from 'node:timers/promises'
import Fastify, { type FastifyInstance, type FastifyPluginAsync } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'A webhook is ignored if its id is in a set, but the id is added when the event has been handled. A second delivery is handled too.'

interface Event { id: string, amount: number }
interface Ledger { credited: number }

async function credit (ledger: Ledger, { amount }: Event): Promise<void> {
  await nextTurn()
  ledger.credited += amount
}

const rememberAfterwards = (seen: Set<string>, ledger: Ledger): FastifyPluginAsync => async (app) => {
  app.post<{ Body: Event }>('/webhook', async ({ body: event }) => {
    if (seen.has(event.id)) return { duplicate: true }
    await credit(ledger, event)
    seen.add(event.id)
    return { duplicate: false }
  })
}

const rememberBefore = (seen: Set<string>, ledger: Ledger): FastifyPluginAsync => async (app) => {
  app.post<{ Body: Event }>('/webhook', async ({ body: event }) => {
    if (seen.has(event.id)) return { duplicate: true }
    seen.add(event.id)
    try {
      await credit(ledger, event)
    } catch (error) {
      seen.delete(event.id)
      throw error
    }
    return { duplicate: false }
  })
}

const build = (plugin: typeof rememberBefore) => ({ shared }: Tools): FastifyInstance => {
  const app = Fastify()
  const ledger = { credited: 0 }
  app.register(plugin(shared(new Set<string>(), 'seen'), ledger))
  app.get('/credited', async () => ledger.credited)
  return app
}

export const { racy, fixed } = pair({
  name: 'unseen/webhook-dedupe',
  source: 'pattern: dedupe set',
  requests: ['e1', 'e2', 'e1'].map((id) => ({ method: 'POST', url: '/webhook', payload: { id, amount: 10 } })),
  async invariant (app) {
    assert.equal((await app.inject('/credited')).json(), 20)
  }
}, build(rememberAfterwards), build(rememberBefore))
