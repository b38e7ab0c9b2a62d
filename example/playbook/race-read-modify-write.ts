// A record that is loaded, changed and saved as a whole.
import type { FastifyPluginAsync } from 'fastify'
import { shared } from 'fastify-concurrency-race'
import type { Options } from './race-counter.ts'

interface Account { balance: number }

/** BAD. Both requests load a balance of 100, and the second to save takes the first withdrawal back. */
export const bad: FastifyPluginAsync<Options> = async (app, { call }) => {
  const accounts = shared(new Map<string, Account>([['ada', { balance: 100 }]]), 'accounts')
  app.get('/', async () => {
    const balance = accounts.get('ada')?.balance ?? 0
    await call()
    accounts.set('ada', { balance: balance - 10 })
    return balance - 10
  })
}

/** GOOD. The account is locked from the read to the write. */
export const good: FastifyPluginAsync<Options> = async (app, { call }) => {
  const accounts = shared(new Map<string, Account>([['ada', { balance: 100 }]]), 'accounts')
  app.get('/', async () => app.locks.mutex('account ada').runExclusive(async () => {
    const balance = accounts.get('ada')?.balance ?? 0
    await call()
    accounts.set('ada', { balance: balance - 10 })
    return balance - 10
  }))
}
