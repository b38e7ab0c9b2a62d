// typicode/lowdb#478, typicode/steno: writes of one file follow each other, and those that wait are one.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

class Writer {
  #isLocked = false
  #next = null
  #waiting = []
  content = ''

  async write (data) {
    if (this.#isLocked) return this.#add(data)
    this.#isLocked = true
    try {
      await sleep(2)
      this.content = data
    } finally {
      this.#isLocked = false
      if (this.#next !== null) {
        const [data, waiting] = [this.#next, this.#waiting]
        this.#next = null
        this.#waiting = []
        this.write(data).then(() => waiting.forEach((resolve) => resolve()))
      }
    }
  }

  #add (data) {
    this.#next = data
    return new Promise((resolve) => this.#waiting.push(resolve))
  }
}

export function build () {
  const app = Fastify()
  const writer = new Writer()
  app.put('/file/:content', async ({ params }) => {
    await writer.write(params.content)
    return 'written'
  })
  return app
}

export const requests = ['a', 'b', 'c'].map((content) => ({ method: 'PUT', url: `/file/${content}` }))
