// elizaOS/eliza#8161: who posts first claims the completion in the turn of the test, before the messages go out.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

class Router {
  #posted = new Map()
  delivered = []

  tryClaimCompletion (lineage, session) {
    const poster = this.#posted.get(lineage)
    if (poster !== undefined && poster !== session) return false
    this.#posted.set(lineage, session)
    return true
  }

  async route (lineage, session) {
    if (!this.tryClaimCompletion(lineage, session)) return 'dropped'
    for (const target of ['room', 'owner']) {
      await sleep(1)
      this.delivered.push(target)
    }
    return 'posted'
  }
}

export function build () {
  const app = Fastify()
  const router = new Router()
  app.post('/complete/:session', async ({ params }) => router.route('l1', params.session))
  return app
}

export const requests = [{ method: 'POST', url: '/complete/s1' }, { method: 'POST', url: '/complete/s2' }]
