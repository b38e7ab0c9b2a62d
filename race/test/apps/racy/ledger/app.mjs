// The balance is another module's variable, which this one imports through a re-export and sets by a function.
import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'
import { balance, Ledger, setBalance } from './index.mjs'

const ledger = new Ledger()

export const requests = [30, 20].map((amount) => ({ method: 'POST', url: '/deposit', payload: { amount } }))

export function build () {
  const app = Fastify()
  app.post('/deposit', async ({ body: { amount } }) => {
    const before = balance
    await wait(amount / 10)
    setBalance(before + amount)
    ledger.note(amount)
    return { balance }
  })
  return app
}
