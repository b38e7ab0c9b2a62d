// segmentio/analytics-node#353: the queue is swapped for an empty one before the first await; what fails is put back in front.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

class Analytics {
  queue = []
  delivered = 0

  track (event) {
    this.queue.push(event)
  }

  async flush () {
    if (this.queue.length === 0) return 0
    const batch = this.queue.splice(0, this.queue.length)
    try {
      await sleep(2)
      this.delivered += batch.length
    } catch {
      this.queue.unshift(...batch)
    }
    return batch.length
  }
}

export function build () {
  const app = Fastify()
  const analytics = new Analytics()
  app.post('/track/:event', async ({ params: { event } }) => {
    await sleep(1)
    analytics.track(event)
    await analytics.flush()
    return { tracked: event }
  })
  return app
}

export const requests = [{ method: 'POST', url: '/track/a' }, { method: 'POST', url: '/track/b' }, { method: 'POST', url: '/track/c' }]
