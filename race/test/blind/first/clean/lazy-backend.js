// sidequestjs/sidequest#47, denoland/std#7007: a promise is kept in the turn of the test, and its result after it.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

class LazyBackend {
  made = 0

  async create () {
    await sleep(1)
    return { id: ++this.made, jobs: [] }
  }

  async init () {
    if (!this.backend) {
      this.backendPromise ??= this.create()
      this.backend = await this.backendPromise
    }
    return this.backend
  }
}

export function build () {
  const app = Fastify()
  const lazy = new LazyBackend()
  app.post('/job/:name', async ({ params: { name } }) => {
    const backend = await lazy.init()
    backend.jobs.push(name)
    return { backend: backend.id }
  })
  return app
}

export const requests = [{ method: 'POST', url: '/job/a' }, { method: 'POST', url: '/job/b' }]
