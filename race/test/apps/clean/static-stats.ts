import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'

class Stats {
  static active = 0
  static total = 0
  static peak = 0

  static enter (): void {
    Stats.active++
    Stats.total += 1
    if (Stats.active > Stats.peak) Stats.peak = Stats.active
  }

  static leave (): void {
    Stats.active--
  }
}

export const requests = ['/', '/', '/']

export function build () {
  const app = Fastify()
  app.addHook('onRequest', async () => Stats.enter())
  app.addHook('onResponse', async () => Stats.leave())
  app.get('/', async () => {
    await wait(1)
    return { total: Stats.total, peak: Stats.peak }
  })
  return app
}
