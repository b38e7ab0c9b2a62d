// KanishJebaMathewM/Truxify#3975: a load in flight is looked up and stored in one turn.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  const cache = new Map()
  const inflight = new Map()

  function getCachedOrFetch (key, fetchFn) {
    if (cache.has(key)) return cache.get(key)
    let promise = inflight.get(key)
    if (!promise) {
      promise = fetchFn().then((value) => {
        cache.set(key, value)
        return value
      }).finally(() => inflight.delete(key))
      inflight.set(key, promise)
    }
    return promise
  }

  app.get('/route/:id', async (request) => getCachedOrFetch(request.params.id, async () => { await sleep(2); return { km: 12 } }))
  return app
}

export const requests = ['/route/a', '/route/a', '/route/a']
