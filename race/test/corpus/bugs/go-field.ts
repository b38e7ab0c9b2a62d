// Go's read-modify-write of a field: a withdrawal reads the balance, asks the fraud check, and writes the new balance.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'A withdrawal reads the balance, awaits the fraud check, and writes the balance that it read minus the amount.'

interface Account { owner: string, balance: number }

const looksHonest = (amount: number): Promise<boolean> => sleep(1).then(() => amount < 1000)

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const account: Account = shared({ owner: 'ann', balance: 100 }, 'account')
  app.post<{ Body: { amount: number } }>('/withdraw', (request) => {
    const { amount } = request.body
    const balance = account.balance
    return looksHonest(amount).then((honest) => {
      if (!honest || balance < amount) return { paid: 0 }
      account.balance = balance - amount
      return { paid: amount }
    })
  })
  app.get('/balance', async () => account.balance)
  return app
}

function fixedApp ({ shared, locks }: Tools): FastifyInstance {
  const app = Fastify()
  const account: Account = shared({ owner: 'ann', balance: 100 }, 'account')
  app.post<{ Body: { amount: number } }>('/withdraw', (request) => locks.mutex('account', () => {
    const { amount } = request.body
    const balance = account.balance
    return looksHonest(amount).then((honest) => {
      if (!honest || balance < amount) return { paid: 0 }
      account.balance = balance - amount
      return { paid: amount }
    })
  }))
  app.get('/balance', async () => account.balance)
  return app
}

export const { racy, fixed } = pair({
  name: 'bugs/go-field',
  source: 'Go: read-modify-write of a field',
  requests: [60, 30, 30].map((amount) => ({ method: 'POST', url: '/withdraw', payload: { amount } })),
  async invariant (app, responses) {
    const paid = responses.reduce((sum, response) => sum + response.json<{ paid: number }>().paid, 0)
    assert.equal((await app.inject('/balance')).json(), 100 - paid)
  }
}, racyApp, fixedApp)
