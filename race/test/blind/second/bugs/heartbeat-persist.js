// Ixotic27/The-Leetcode-City#116: a flush persists the queue while the batch of another one is under way, which fails and puts its batch back in memory only.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const build = (isFixed) => () => {
  const app = Fastify()
  const queue = ['h1', 'h2']
  let persisted = ['h1', 'h2']
  let isFlushing = false
  let failures = 1

  async function sendHeartbeats () {
    await sleep(2)
    if (failures-- > 0) throw new Error('offline')
  }
  async function persist () {
    const state = [...queue]
    await sleep(1)
    persisted = state
  }
  async function flush () {
    if (isFixed && isFlushing) return
    isFlushing = true
    const batch = queue.splice(0, 2)
    try {
      await sendHeartbeats(batch)
      if (!isFixed) await persist()
    } catch {
      queue.unshift(...batch)
    } finally {
      isFlushing = false
      if (isFixed) persisted = [...queue]
    }
  }

  app.post('/heartbeat/:id', async ({ params: { id } }) => {
    queue.push(id)
    await flush()
    return { queued: true }
  })
  app.get('/state', async () => ({ queue, persisted }))
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = [{ method: 'POST', url: '/heartbeat/h3' }, { method: 'POST', url: '/heartbeat/h4' }]
