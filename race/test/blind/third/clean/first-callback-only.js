// resonatehq/resonate-sdk-ts#207: the first callback that finds the promise completed runs the computation again, the others are ignored.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  const promises = { p1: { state: 'pending', runs: 0 } }

  app.post('/resolve', async () => {
    const promise = promises.p1
    await sleep(1)
    if (promise.state === 'resolved') return 'seen'
    promise.state = 'resolved'
    await sleep(1)
    promise.runs++
    return 'seen'
  })
  return app
}

export const requests = [1, 2, 3].map(() => ({ method: 'POST', url: '/resolve' }))
