// talex-touch/tuff#657: what is being flushed is merged back when the flush fails, also after the queue was cleared for privacy.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

class UsageStatsQueue {
  records = new Map([['search', 3]])
  generation = 0
  constructor (isFixed) { this.isFixed = isFixed }

  async write () {
    await sleep(3)
    throw new Error('database is locked')
  }

  async flush () {
    const batch = [...this.records]
    const { generation } = this
    this.records.clear()
    try {
      await this.write(batch)
    } catch {
      if (this.isFixed && generation !== this.generation) return 'dropped'
      for (const [key, count] of batch) this.records.set(key, (this.records.get(key) ?? 0) + count)
    }
    return 'flushed'
  }

  clear () {
    this.generation++
    this.records.clear()
  }
}

const build = (isFixed) => () => {
  const app = Fastify()
  const stats = new UsageStatsQueue(isFixed)
  app.post('/flush', async () => { await stats.flush(); return 'ok' })
  app.delete('/stats', async () => {
    await sleep(1)
    stats.clear()
    return 'cleared'
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = [{ method: 'POST', url: '/flush' }, { method: 'DELETE', url: '/stats' }]
