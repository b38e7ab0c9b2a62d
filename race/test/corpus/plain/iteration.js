// The racy program of bugs/iteration.ts, as an application that knows no detector.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const subscribers = ['ann', 'ben', 'cat', 'dan']

export function build () {
  const app = Fastify()
  app.post('/broadcast', async () => {
    const delivered = []
    for (const subscriber of subscribers) {
      await sleep(1)
      delivered.push(subscriber)
    }
    return delivered
  })
  app.delete('/subscribers/:name', async ({ params }) => {
    const index = subscribers.indexOf(params.name)
    if (index >= 0) subscribers.splice(index, 1)
    return 'removed'
  })
  return app
}
