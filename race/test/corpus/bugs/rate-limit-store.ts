// A limiter class over an asynchronous store whose interface has get() and set() only, as for Redis.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'A limiter calls get() and then set() of an asynchronous store. Overlapping requests read the same count.'

interface Entry { hits: number, resetAt: number }

class MemoryStore {
  readonly entries: Map<string, Entry>

  constructor (entries: Map<string, Entry>) {
    this.entries = entries
  }

  async get (key: string): Promise<Entry | undefined> {
    return this.entries.get(key)
  }

  async set (key: string, entry: Entry): Promise<void> {
    this.entries.set(key, entry)
  }

  async increment (key: string): Promise<number> {
    const entry = this.entries.get(key) ?? { hits: 0, resetAt: 0 }
    entry.hits += 1
    this.entries.set(key, entry)
    return entry.hits
  }
}

async function hitByGetAndSet (store: MemoryStore, key: string): Promise<number> {
  const entry = await store.get(key) ?? { hits: 0, resetAt: 0 }
  await sleep(1) // writes to the audit log
  const next = { ...entry, hits: entry.hits + 1 }
  await store.set(key, next)
  return next.hits
}

async function hitAtOnce (store: MemoryStore, key: string): Promise<number> {
  const hits = await store.increment(key)
  await sleep(1) // writes to the audit log
  return hits
}

const build = (hit: (store: MemoryStore, key: string) => Promise<number>) => ({ shared }: Tools): FastifyInstance => {
  const app = Fastify()
  const store = new MemoryStore(shared(new Map<string, Entry>(), 'store.entries'))
  app.post('/login', async (request, reply) => {
    const hits = await hit(store, request.ip)
    return reply.code(hits > 2 ? 429 : 200).send({ hits })
  })
  return app
}

export const { racy, fixed } = pair({
  name: 'bugs/rate-limit-store',
  source: 'JhaSourav07/commitpulse#4130',
  requests: Array.from({ length: 4 }, () => ({ method: 'POST', url: '/login' })),
  invariant (_app, responses) {
    assert.deepEqual(responses.map((response) => response.json<{ hits: number }>().hits).sort(), [1, 2, 3, 4])
  }
}, build(hitByGetAndSet), build(hitAtOnce))
