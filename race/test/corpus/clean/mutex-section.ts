import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'The balance is read, awaited on and written while a mutex is held. All writers hold the same mutex.'

function build ({ shared, locks }: Tools): FastifyInstance {
  const app = Fastify()
  const wallet = shared({ balance: 100 }, 'wallet')
  app.post<{ Body: { amount: number } }>('/spend', async ({ body: { amount } }, reply) => locks.mutex('wallet', async () => {
    const before = wallet.balance
    if (before < amount) return reply.code(402).send({ error: 'not enough' })
    await sleep(1) // asks the bank
    wallet.balance = before - amount
    return { left: wallet.balance }
  }))
  app.post<{ Body: { amount: number } }>('/earn', async ({ body: { amount } }) => locks.mutex('wallet', async () => {
    const before = wallet.balance
    await sleep(1) // asks the bank
    wallet.balance = before + amount
    return { left: wallet.balance }
  }))
  app.get('/balance', async () => wallet.balance)
  return app
}

export const program: Program = {
  name: 'clean/mutex-section',
  source: 'race.md: a mutex-held section',
  build,
  requests: [['spend', 30], ['earn', 50], ['spend', 20]].map(([route, amount]) => ({ method: 'POST', url: `/${route}`, payload: { amount } })),
  async invariant (app) {
    assert.equal((await app.inject('/balance')).json(), 100)
  }
}
