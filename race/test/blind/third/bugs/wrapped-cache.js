// jaredwray/cacheable#888: concurrent calls of a wrapped function all miss, and each does the work, which here counts against a quota.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const build = (isFixed) => () => {
  const app = Fastify()
  const memory = new Map()
  const coalesced = new Map()
  const quota = { left: 3 }

  async function translate (text) {
    quota.left--
    await sleep(2)
    return text.toUpperCase()
  }
  const wrap = (work) => async (key) => {
    const hit = memory.get(key)
    if (hit !== undefined) return hit
    if (isFixed) {
      if (!coalesced.has(key)) coalesced.set(key, work(key).then((value) => { memory.set(key, value); return value }))
      return coalesced.get(key)
    }
    const value = await work(key)
    memory.set(key, value)
    return value
  }
  const cached = wrap(translate)

  app.get('/translate/:text', async ({ params }) => cached(params.text))
  app.get('/quota', async () => quota)
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = ['/translate/hi', '/translate/hi']
