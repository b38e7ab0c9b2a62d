// Ixotic27/The-Leetcode-City#139: one flush at a time, and the queue is persisted when it is done.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  const queue = []
  let persisted = []
  let isFlushing = false

  async function flush () {
    if (isFlushing || queue.length === 0) return
    isFlushing = true
    const batch = queue.splice(0, 10)
    try {
      await sleep(2)
    } catch {
      queue.unshift(...batch)
    } finally {
      isFlushing = false
      persisted = [...queue]
    }
  }

  app.post('/heartbeat', async () => {
    queue.push('beat')
    flush()
    return 'queued'
  })
  app.get('/persisted', async () => persisted)
  return app
}

export const requests = [{ method: 'POST', url: '/heartbeat' }, { method: 'POST', url: '/heartbeat' }]
