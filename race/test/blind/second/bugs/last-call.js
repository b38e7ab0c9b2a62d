// sjnims/cc-plugin-eval#152: each call looks at the time of the last one, waits, and only then notes its own.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const createRateLimiter = (interval, isFixed) => {
  let nextSlot = 0
  return async () => {
    const slot = nextSlot
    if (isFixed) nextSlot = slot + interval
    if (slot > 0) await sleep(slot)
    await sleep(1)
    if (!isFixed) nextSlot = slot + interval
    return slot
  }
}

const build = (isFixed) => () => {
  const app = Fastify()
  const limit = createRateLimiter(3, isFixed)
  const slots = []
  app.get('/evaluate', async () => {
    slots.push(await limit())
    return 'evaluated'
  })
  app.get('/slots', async () => slots)
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = ['/evaluate', '/evaluate']
