// telegraf/telegraf#1713: simultaneous updates of a session share one object, which is counted and written back by the last one.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  const store = new Map([['chat', { messages: 0 }]])
  const cache = new Map()
  const loading = new Map()

  async function acquire (key) {
    let entry = cache.get(key)
    if (entry === undefined) {
      let load = loading.get(key)
      if (load === undefined) loading.set(key, load = sleep(1).then(() => ({ ...store.get(key) })))
      const ref = await load
      loading.delete(key)
      entry = cache.get(key)
      if (entry === undefined) cache.set(key, entry = { ref, counter: 0 })
    }
    entry.counter++
    return entry
  }

  app.post('/update', async () => {
    const entry = await acquire('chat')
    try {
      await sleep(2)
      entry.ref.messages++
      return { ok: true }
    } finally {
      if (--entry.counter === 0) {
        store.set('chat', { ...entry.ref })
        cache.delete('chat')
      }
    }
  })
  return app
}

export const requests = [{ method: 'POST', url: '/update' }, { method: 'POST', url: '/update' }]
