// resonatehq/resonate-sdk-ts#187: one loop drains the queue of events, whoever adds to it meanwhile.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

class Computation {
  eventQueue = []
  isProcessing = false
  handled = 0

  async process () {
    if (this.isProcessing) return
    this.isProcessing = true
    while (this.eventQueue.length > 0) {
      const event = this.eventQueue.shift()
      await sleep(1)
      if (event.kind === 'resume') this.handled++
    }
    this.isProcessing = false
  }

  async resume () {
    this.eventQueue.push({ kind: 'resume' })
    await this.process()
  }
}

export function build () {
  const app = Fastify()
  const computation = new Computation()
  app.post('/resume', async () => {
    await computation.resume()
    return 'resumed'
  })
  return app
}

export const requests = [1, 2, 3].map(() => ({ method: 'POST', url: '/resume' }))
