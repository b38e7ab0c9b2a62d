// jonathanbossenger/concilium#128: two PATCHes read the cached configuration, merge into it, save it, and replace the cache.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const build = (isFixed) => () => {
  const app = Fastify()
  let cached = { theme: 'light', model: 'small' }
  const writeThenRename = async () => { await sleep(2) }
  let tail = Promise.resolve()

  async function saveConfig (patch) {
    const next = { ...cached, ...patch }
    await writeThenRename(next)
    cached = next
  }

  app.patch('/config', async ({ body }) => {
    if (isFixed) await (tail = tail.then(() => saveConfig(body)))
    else await saveConfig(body)
    return { saved: true }
  })
  app.get('/config', async () => cached)
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = [{ theme: 'dark' }, { model: 'large' }].map((body) => ({ method: 'PATCH', url: '/config', body }))
