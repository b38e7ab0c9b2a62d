// PostHog/posthog-js-lite#177: one flush at a time by a flag that is set in the turn of its test, and what came meanwhile is sent by the next round.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  const queue = []
  const sent = []
  let isFlushing = false

  async function flush () {
    if (isFlushing) return
    isFlushing = true
    try {
      while (queue.length > 0) {
        const batch = queue.slice(0, 2)
        await sleep(1)
        sent.push(...batch)
        queue.splice(0, batch.length)
      }
    } finally {
      isFlushing = false
    }
  }

  app.post('/capture/:name', async ({ params: { name } }) => {
    queue.push(name)
    await flush()
    return { captured: name }
  })
  return app
}

export const requests = [{ method: 'POST', url: '/capture/a' }, { method: 'POST', url: '/capture/b' }, { method: 'POST', url: '/capture/c' }]
