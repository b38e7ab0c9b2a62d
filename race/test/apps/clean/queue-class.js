import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'

class Mutex {
  #tail = Promise.resolve()

  run (fn) {
    const result = this.#tail.then(fn)
    this.#tail = result.catch(() => {})
    return result
  }
}

class Sequence {
  value = 0
  mutex = new Mutex()

  next () {
    return this.mutex.run(async () => {
      const { value } = this
      await wait(1)
      this.value = value + 1
      return this.value
    })
  }
}

export const requests = ['/next', '/next', '/next']

export function build () {
  const app = Fastify()
  app.decorate('sequence', new Sequence())
  app.get('/next', async () => ({ value: await app.sequence.next() }))
  return app
}
