// A bank in memory: a transfer reads both balances, awaits the compliance check, and writes both.
import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'A transfer writes balances that it computed before an await. Money appears or disappears.'

interface Transfer { from: string, to: string, amount: number }
interface Accounts { [owner: string]: { balance: number } }

const sanctions = new Table<boolean>()
const newAccounts = (): Accounts => ({ ann: { balance: 100 }, ben: { balance: 100 }, cat: { balance: 100 } })

async function transferLate (accounts: Accounts, { from, to, amount }: Transfer): Promise<void> {
  const source = accounts[from]!
  const target = accounts[to]!
  const left = source.balance - amount
  const received = target.balance + amount
  if (left < 0 || await sanctions.find(to)) throw new Error('refused')
  source.balance = left
  target.balance = received
}

async function transferAtOnce (accounts: Accounts, { from, to, amount }: Transfer): Promise<void> {
  const source = accounts[from]!
  const target = accounts[to]!
  if (await sanctions.find(to) || source.balance < amount) throw new Error('refused')
  source.balance -= amount
  target.balance += amount
}

const build = (transfer: typeof transferLate) => ({ shared }: Tools): FastifyInstance => {
  const app = Fastify()
  const accounts = shared(newAccounts(), 'accounts')
  app.post<{ Body: Transfer }>('/transfers', async ({ body }, reply) => {
    await transfer(accounts, body)
    return reply.code(201).send()
  })
  app.get('/total', async () => Object.values(accounts).reduce((sum, { balance }) => sum + balance, 0))
  return app
}

export const { racy, fixed } = pair({
  name: 'unseen/transfer',
  source: 'pattern: lost update of two objects',
  requests: [{ from: 'ann', to: 'ben', amount: 10 }, { from: 'cat', to: 'ben', amount: 20 }].map((payload) => ({ method: 'POST', url: '/transfers', payload })),
  async invariant (app) {
    assert.equal((await app.inject('/total')).json(), 300)
  }
}, build(transferLate), build(transferAtOnce))
