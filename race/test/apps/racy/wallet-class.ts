import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'

class Wallet {
  private balance = 100

  async withdraw (amount: number): Promise<boolean> {
    if (this.balance < amount) return false
    await wait(2)                          // asks the bank
    this.balance -= amount
    return true
  }
}

export const requests = ['/pay', '/pay']

export function build () {
  const app = Fastify()
  const wallet = new Wallet()
  app.get('/pay', async (_request, reply) => {
    if (!await wallet.withdraw(80)) return reply.code(402).send({ error: 'no money' })
    return { ok: true }
  })
  return app
}
