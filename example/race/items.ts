// A cache of items that requests fill and change: once with a race, once with a read-write lock.
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyPluginAsync } from 'fastify'
import { shared } from 'fastify-concurrency-race'

export interface Item {
  id: number
  stock: number
}

/** Stands for a query: it takes a moment. */
const query = async <T>(rows: T): Promise<T> => sleep(1, rows)

/** BAD. Two orders read the same stock, and the second writes what it made of the old one: an item is sold that isn't there. */
export const racy: FastifyPluginAsync = async (app) => {
  const cache = shared(new Map<number, Item>([[1, { id: 1, stock: 10 }]]), 'items')
  app.post('/order', async () => {
    const stock = cache.get(1)?.stock ?? 0
    await query('reserved')
    cache.set(1, { id: 1, stock: stock - 1 })
  })
  app.get('/items', async () => [...cache.values()])
}

/** GOOD. An order is the only one who changes the items, from the read to the write; readers share. */
export const fixed: FastifyPluginAsync = async (app) => {
  const cache = shared(new Map<number, Item>([[1, { id: 1, stock: 10 }]]), 'items')
  const lock = app.locks.rwlock('items')
  app.post('/order', async () => lock.runExclusive(async () => {
    const stock = cache.get(1)?.stock ?? 0
    await query('reserved')
    cache.set(1, { id: 1, stock: stock - 1 })
  }))
  app.get('/items', async () => lock.runShared(() => [...cache.values()]))
}
