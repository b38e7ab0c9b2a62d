import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'

class InvoiceNumbers {
  #last = 0

  async next () {
    const number = this.#last + 1
    await wait(1)
    this.#last = number
    return number
  }
}

export const requests = [{ method: 'POST', url: '/invoices' }, { method: 'POST', url: '/invoices' }]

export async function build () {
  const app = Fastify()
  const numbers = new InvoiceNumbers()
  app.post('/invoices', async () => ({ number: await numbers.next() }))
  return app
}
