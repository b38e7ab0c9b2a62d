// elizaOS/eliza#8161: whether another session has posted is read before the messages go out, and noted after the last one.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const build = (isFixed) => () => {
  const app = Fastify()
  const completionPosted = new Map()
  const room = []

  const hasPosted = (lineage, session) => completionPosted.has(lineage) && completionPosted.get(lineage) !== session
  const markPosted = (lineage, session) => { completionPosted.set(lineage, session) }

  app.post('/complete/:session', async ({ params: { session } }) => {
    if (hasPosted('l1', session)) return { posted: false }
    if (isFixed) markPosted('l1', session)
    for (const message of ['done', 'summary']) {
      await sleep(1)
      room.push(message)
    }
    if (!isFixed) markPosted('l1', session)
    return { posted: true }
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = ['/complete/s1', '/complete/s2'].map((url) => ({ method: 'POST', url }))
