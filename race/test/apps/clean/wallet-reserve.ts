import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'

class Wallet {
  private balance = 100
  #reserved = 0

  async withdraw (amount: number): Promise<boolean> {
    if (this.balance - this.#reserved < amount) return false
    this.#reserved += amount
    try {
      await wait(2)
      this.balance -= amount
      return true
    } finally {
      this.#reserved -= amount
    }
  }
}

export const requests = ['/pay', '/pay', '/pay']

export function build () {
  const app = Fastify()
  const wallet = new Wallet()
  app.get('/pay', async (_request, reply) => {
    if (!await wallet.withdraw(40)) return reply.code(402).send()
    return { ok: true }
  })
  return app
}
