// Locks: what a function returns is what its lock resolves to.
import Fastify from 'fastify'
import type { Lock, Locks } from 'fastify-concurrency'
import { SharedCounter, SharedFlag } from 'fastify-concurrency/jobs'
import type {} from 'fastify-concurrency/locks'
import { holds, type Equal } from './equal.ts'

const app = Fastify()
holds<Equal<typeof app.locks, Locks>>()

const exclusive = app.locks.mutex('a').runExclusive(async () => 5)
holds<Equal<typeof exclusive, Promise<number>>>()
const shared = app.locks.rwlock('a').runShared(() => 'x')
holds<Equal<typeof shared, Promise<string>>>()
const bounded = app.locks.semaphore('a', 2).run(() => true)
holds<Equal<typeof bounded, Promise<boolean>>>()
const once = app.locks.once('a', async () => new Map<string, number>(), { timeout: 5, detached: true, signal: AbortSignal.timeout(5) })
holds<Equal<typeof once, Promise<Map<string, number>>>>()
await Promise.all([exclusive, shared, bounded, once])
{
  await using lock = await app.locks.mutex('a').acquire()
  holds<Equal<typeof lock, Lock>>()
  void lock
}

// @ts-expect-error: a key is a string
app.locks.mutex(1)
// @ts-expect-error: a semaphore has a number of permits
app.locks.semaphore('a')
// @ts-expect-error: misspelt
void app.locks.mutex('a').acquire({ timout: 5 })

holds<Equal<SharedCounter['value'], number>>()
holds<Equal<ReturnType<SharedFlag['set']>, boolean>>()
void [SharedCounter, SharedFlag]
