// A session plugin: a hook loads the session, the handler changes it, and another hook saves the whole session.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'Each request loads the session, changes a field and saves all of it. Overlapping requests of one client lose each other\'s fields.'

type Session = Record<string, unknown>

interface WithSession extends FastifyRequest { session: Session | null }

/** How sessions are kept: what a request starts with, and what is stored when it ends. */
interface Keeping {
  load (stored: string): Session
  save (stored: string, session: Session): Session
}

const everything: Keeping = {
  load: (stored) => JSON.parse(stored) as Session,
  save: (_stored, session) => session
}

/** The session of a request starts empty, and holds the changes only. */
const changesOnly: Keeping = {
  load: () => ({}),
  save: (stored, changes) => ({ ...JSON.parse(stored) as Session, ...changes })
}

const build = ({ load, save }: Keeping) => ({ shared }: Tools): FastifyInstance => {
  const app = Fastify()
  const store = shared(new Map([['s1', '{"user":"ann"}']]), 'store')
  app.decorateRequest('session', null)
  app.addHook('onRequest', async (request) => {
    (request as WithSession).session = load(store.get('s1') ?? '{}')
  })
  app.addHook('onSend', async (request) => {
    const { session } = request as WithSession
    if (session) store.set('s1', JSON.stringify(save(store.get('s1') ?? '{}', session)))
  })
  app.put<{ Body: { theme: string } }>('/theme', async (request) => {
    await sleep(1) // validates the theme
    ;(request as unknown as WithSession).session!['theme'] = request.body.theme
    return 'saved'
  })
  app.put<{ Body: { item: string } }>('/cart', async (request) => {
    await sleep(1) // looks the item up
    ;(request as unknown as WithSession).session!['cart'] = [request.body.item]
    return 'saved'
  })
  app.get('/session', async () => JSON.parse(store.get('s1')!) as Session)
  return app
}

export const { racy, fixed } = pair({
  name: 'bugs/session-save',
  source: 'SerayaEryn/fastify-session#237',
  requests: [
    { method: 'PUT', url: '/theme', payload: { theme: 'dark' } },
    { method: 'PUT', url: '/cart', payload: { item: 'book' } }
  ],
  async invariant (app) {
    assert.deepEqual((await app.inject('/session')).json(), { user: 'ann', theme: 'dark', cart: ['book'] })
  }
}, build(everything), build(changesOnly))
