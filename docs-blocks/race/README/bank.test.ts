import { test } from 'node:test'
import { explore } from 'fastify-concurrency-race'
import { build } from './bank.js'

test('two withdrawals', async () => {
  const withdraw = { method: 'POST', url: '/withdraw' } as const
  await explore(build, { requests: [withdraw, withdraw], invariant: 'serial' })   // rejects: FC_ERR_EXPLORE, "With seed 0: …"
})
