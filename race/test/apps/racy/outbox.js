// An async generator of a class delivers from a cursor in a field, and advances it after the delivery: two requests deliver the same message.
import Fastify from 'fastify'
import { setTimeout as deliver } from 'node:timers/promises'

class Outbox {
  cursor = 0
  messages = ['one', 'two', 'three', 'four']

  get next () {
    return this.messages[this.cursor]
  }

  async * drain (limit) {
    while (limit-- > 0 && this.cursor < this.messages.length) {
      const message = this.next
      await deliver(1)
      this.cursor += 1
      yield message
    }
  }
}

export const requests = ['/drain', '/drain'].map((url) => ({ method: 'POST', url }))

export function build () {
  const app = Fastify()
  const outbox = new Outbox()
  app.post('/drain', async () => {
    const delivered = []
    for await (const message of outbox.drain(2)) delivered.push(message)
    return { delivered }
  })
  return app
}
