// BYK/loreai#282: a promise is kept in a variable of the module while a list is loaded, which has a time to live.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  const TTL = 60_000
  let models
  let loadedAt = 0
  let inflightFetch

  async function fetchModels () {
    if (models !== undefined && Date.now() - loadedAt < TTL) return models
    inflightFetch ??= (async () => {
      await sleep(2)
      const loaded = ['opus', 'haiku']
      models = loaded
      loadedAt = Date.now()
      return loaded
    })().finally(() => { inflightFetch = undefined })
    return inflightFetch
  }

  app.get('/models', async () => ({ models: await fetchModels() }))
  return app
}

export const requests = ['/models', '/models']
