// vercel/swr#261: each request has a time of its own, and an answer that is older than the newest request is dropped.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  const cache = new Map()
  const timestamps = new Map()
  let clock = 0

  app.get('/api/:delay', async ({ params }) => {
    const startAt = ++clock
    timestamps.set('api', startAt)
    await sleep(Number(params.delay))
    if (timestamps.get('api') > startAt) return 'stale'
    cache.set('api', { at: startAt })
    return 'fresh'
  })
  return app
}

export const requests = ['/api/4', '/api/1']
