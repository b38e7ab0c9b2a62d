// The memory of locks. A file of its own: under RACE=1 a million locks would take minutes and say nothing, so .ci/race leaves it out.
import t from 'tap'
import { Hold } from '../../plugins/locks/hold.ts'
import { LockLedger } from '../../plugins/locks/ledger.ts'
import { resolveOptions } from '../../plugins/locks/options.ts'
import { LockTable } from '../../plugins/locks/table.ts'
import { startLocks } from './helper.ts'

t.test('a million keys: the table holds those that are held, and none when all are released', async (t) => {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0 // the test is of memory, and stacks are most of the time that it takes
  t.teardown(() => { Error.stackTraceLimit = stackTraceLimit })
  const app = await startLocks(t)
  const table = new LockTable(resolveOptions({ maxHold: Infinity }), new LockLedger(app))
  for (let round = 0; round < 100; round++) {
    const holds = Array.from({ length: 10_000 }, (_, index) => new Hold('mutex', `${round}:${index}`, 1, undefined, resolveOptions))
    await Promise.all(holds.map(async (hold) => table.acquire(hold, 1, { timeout: 0, signals: [] })))
    t.equal(table.size, 10_000)
    for (const hold of holds) table.release(hold)
    t.equal(table.size, 0)
  }
  const { locks } = app
  await Promise.all(Array.from({ length: 10_000 }, async (_, index) => locks.mutex(String(index)).runExclusive(() => {})))
  t.strictSame(locks.stats(), { locks: 0, holding: 0, waiting: 0 })
})
