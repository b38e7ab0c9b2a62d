// SandeepVashishtha/Eventra#8994: a limiter hands its place to the next in the queue, instead of lowering its count for a newcomer to take.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

function createConcurrencyLimiter (concurrency) {
  const queue = []
  let activeCount = 0

  return async function run (work) {
    if (activeCount >= concurrency) await new Promise((resolve) => { queue.push(resolve) })
    else activeCount++
    try {
      return await work()
    } finally {
      const next = queue.shift()
      if (next) next()
      else activeCount--
    }
  }
}

export function build () {
  const app = Fastify()
  const limit = createConcurrencyLimiter(1)
  const rows = []
  app.post('/row', async () => limit(async () => {
    const { length } = rows
    await sleep(1)
    rows[length] = 'row'
    return 'stored'
  }))
  return app
}

export const requests = [1, 2, 3].map(() => ({ method: 'POST', url: '/row' }))
