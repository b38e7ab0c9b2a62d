// KanishJebaMathewM/Truxify#11979: whoever ends first forgets the load in flight, also that of another.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const build = (isFixed) => () => {
  const app = Fastify()
  const inflight = new Map()
  let active = 0
  let most = 0

  async function load (key, ms) {
    most = Math.max(most, ++active)
    await sleep(ms)
    active--
    return key
  }

  app.get('/lookup/:key/:ms', async ({ params: { key, ms } }) => {
    let mine = inflight.get(key)
    if (mine === undefined) {
      await sleep(1) // the cache is asked first
      mine = (isFixed ? inflight.get(key) : undefined) ?? load(key, Number(ms))
      inflight.set(key, mine)
    }
    try {
      return { key: await mine }
    } finally {
      if (!isFixed || inflight.get(key) === mine) inflight.delete(key)
    }
  })
  app.get('/most', async () => ({ most }))
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = ['/lookup/a/3', '/lookup/a/1']
