// Ixotic27/The-Leetcode-City#116: "because JavaScript is single-threaded, the splice cannot race"; a batch that fails goes back in front.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  const queue = ['a', 'b', 'c', 'd']
  let failures = 1

  app.post('/flush', async () => {
    const batch = queue.splice(0, 2)
    try {
      await sleep(2)
      if (failures-- > 0) throw new Error('offline')
      return { sent: true }
    } catch {
      queue.unshift(...batch)
      return { sent: true, later: batch.length === 2 }
    }
  })
  return app
}

export const requests = [{ method: 'POST', url: '/flush' }, { method: 'POST', url: '/flush' }]
