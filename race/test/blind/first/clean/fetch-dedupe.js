// bettergovph/bettergov#739, c2siorg/Webiu#532: one request in flight a key, which is forgotten when it has settled.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  const cache = new Map()
  const inflight = new Map()
  const fetchPage = async (url) => {
    await sleep(2)
    return { url, body: `body of ${url}` }
  }

  async function fetchWithCache (url) {
    const hit = cache.get(url)
    if (hit) return hit
    if (inflight.has(url)) return inflight.get(url)
    const promise = fetchPage(url).then((page) => {
      cache.set(url, page)
      return page
    }).finally(() => { inflight.delete(url) })
    inflight.set(url, promise)
    return promise
  }

  app.get('/page/:name', async ({ params: { name } }) => (await fetchWithCache(name)).body)
  return app
}

export const requests = ['/page/a', '/page/a', '/page/b']
