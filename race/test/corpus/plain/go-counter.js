// The racy program of bugs/go-counter.ts, as an application that knows no detector: state in a variable of the module.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

let total = 0

async function priceOf (item) {
  await sleep(1)
  return item.length
}

export function build () {
  const app = Fastify()
  app.post('/buy/:item', async (request) => {
    total += await priceOf(request.params.item)
    return 'bought'
  })
  app.get('/total', async () => total)
  return app
}
