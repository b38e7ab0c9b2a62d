// EYBlockchain/timber#152: a mutex that two services share around what they read and write.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

class Mutex {
  #tail = Promise.resolve()
  runExclusive (work) {
    const result = this.#tail.then(work)
    this.#tail = result.then(() => {}, () => {})
    return result
  }
}

export function build () {
  const app = Fastify()
  const mutex = new Mutex()
  const tree = { leaves: 0, root: 'r0' }

  app.post('/leaf', async () => mutex.runExclusive(async () => {
    const { leaves } = tree
    await sleep(2)
    tree.leaves = leaves + 1
    tree.root = `r${tree.leaves}`
    return { ok: true }
  }))
  app.get('/root', async () => mutex.runExclusive(async () => { await sleep(1); return { known: tree.root.length > 0 } }))
  return app
}

export const requests = [{ method: 'POST', url: '/leaf' }, { method: 'POST', url: '/leaf' }, '/root']
