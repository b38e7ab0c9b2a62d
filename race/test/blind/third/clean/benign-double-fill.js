// jaredwray/cacheable#977: two requests miss the same key and both set it to the same value.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  const cacheable = new Map()
  const settings = { currency: 'EUR' }

  app.get('/settings', async () => {
    const data = cacheable.get('settings')
    if (data) return data
    await sleep(2)
    const fresh = { ...settings }
    cacheable.set('settings', fresh)
    return fresh
  })
  return app
}

export const requests = ['/settings', '/settings', '/settings']
