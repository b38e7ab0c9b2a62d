// A pool that counts the connections in use by host. The count is read before a connection is closed and written afterwards.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'A pool reads the number of connections in use, awaits the end of one, and writes the number minus one. A connection opened in between is not counted.'

interface Pool { inUse: Record<string, number> }

const closeConnection = async (): Promise<void> => sleep(1)

function acquire (pool: Pool, host: string): void {
  pool.inUse[host] = (pool.inUse[host] ?? 0) + 1
}

async function releaseLate (pool: Pool, host: string): Promise<void> {
  const count = pool.inUse[host] ?? 0
  await closeConnection()
  pool.inUse[host] = count - 1
}

async function releaseAtOnce (pool: Pool, host: string): Promise<void> {
  await closeConnection()
  pool.inUse[host] = (pool.inUse[host] ?? 0) - 1
}

const build = (release: typeof releaseLate) => ({ shared }: Tools): FastifyInstance => {
  const app = Fastify()
  const pool: Pool = shared({ inUse: {} }, 'pool')
  app.decorate('pool', pool)
  app.get('/query', async () => {
    acquire(pool, 'db1')
    try {
      await sleep(1) // runs the query
      return { rows: 1 }
    } finally {
      await release(pool, 'db1')
    }
  })
  app.get('/in-use', async () => pool.inUse)
  return app
}

export const { racy, fixed } = pair({
  name: 'bugs/connection-count',
  source: 'neo4j/neo4j-javascript-driver#613',
  requests: [{ url: '/query' }, { url: '/query' }, { url: '/query' }],
  async invariant (app) {
    assert.deepEqual((await app.inject('/in-use')).json(), { db1: 0 }, 'all were given back')
  }
}, build(releaseLate), build(releaseAtOnce))
