// vercel/swr#261: the request that started first ends last, and its old answer replaces the newer one.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const build = (isFixed) => () => {
  const app = Fastify()
  const upstream = { title: 'old' }
  const cache = new Map()
  const started = new Map()
  let clock = 0

  async function fetcher () {
    const { title } = upstream
    await sleep(4)
    return title
  }

  app.get('/revalidate', async () => {
    const startAt = ++clock
    started.set('api', startAt)
    const title = await fetcher()
    if (isFixed && started.get('api') !== startAt) return 'ignored'
    cache.set('api', title)
    return 'revalidated'
  })
  app.post('/mutate', async () => {
    upstream.title = 'new'
    started.set('api', ++clock)
    cache.set('api', 'new')
    return 'mutated'
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = ['/revalidate', { method: 'POST', url: '/mutate' }]
