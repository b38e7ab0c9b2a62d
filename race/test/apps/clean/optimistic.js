import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'

class Document {
  constructor () {
    this.version = 0
    this.text = ''
  }

  async append (more) {
    for (;;) {
      const version = this.version
      const text = this.text
      await wait(1)
      if (this.version === version) {
        this.version = version + 1
        this.text = text + more
        return this.version
      }
    }
  }
}

export const requests = ['/append/a', '/append/b', '/append/c']

export function build () {
  const app = Fastify()
  const document = new Document()
  app.get('/append/:text', async (request) => ({ version: await document.append(request.params.text) }))
  return app
}
