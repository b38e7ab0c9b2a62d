// PostHog/posthog-js#4347: what was sent is removed by its position, from a queue that has dropped its oldest entries meanwhile.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const MAX = 3

class Telemetry {
  queue = [{ name: 'boot' }, { name: 'ready' }, { name: 'idle' }]
  sent = []

  constructor (isFixed) { this.isFixed = isFixed }

  capture (name) {
    if (this.queue.length >= MAX) this.queue.shift()
    this.queue.push({ name })
  }

  async flush () {
    const batch = this.queue.slice(0, MAX)
    await sleep(3)
    this.sent.push(...batch.map(({ name }) => name))
    this.queue = this.isFixed ? this.queue.filter((event) => !batch.includes(event)) : this.queue.slice(batch.length)
    return batch.length
  }
}

const build = (isFixed) => () => {
  const app = Fastify()
  const telemetry = new Telemetry(isFixed)
  app.post('/flush', async () => ({ flushed: await telemetry.flush() }))
  app.post('/event/:name', async ({ params: { name } }) => {
    await sleep(1)
    telemetry.capture(name)
    return { captured: name }
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = [{ method: 'POST', url: '/flush' }, { method: 'POST', url: '/event/click' }]
