// Go's lazy initialisation: the first request connects, and so does the second, which comes before the first has connected.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = '`if (!db.connection) db.connection = await connect()` opens one connection for each request that comes before the first is open.'

interface Connection { id: number }

function connector (): { open: Connection[], connect (): Promise<Connection> } {
  const open: Connection[] = []
  return {
    open,
    async connect () {
      const connection = { id: open.length + 1 }
      open.push(connection)
      await sleep(1)
      return connection
    }
  }
}

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const { open, connect } = connector()
  const db = shared({ connection: null as Connection | null }, 'db')
  app.get('/rows', async () => {
    if (!db.connection) db.connection = await connect()
    return { connection: db.connection.id }
  })
  app.get('/open', async () => open.length)
  return app
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const { open, connect } = connector()
  const db = shared({ connection: null as Promise<Connection> | null }, 'db')
  app.get('/rows', async () => {
    if (!db.connection) db.connection = connect()
    return { connection: (await db.connection).id }
  })
  app.get('/open', async () => open.length)
  return app
}

export const { racy, fixed } = pair({
  name: 'bugs/go-lazy-init',
  source: 'Go: lazy init',
  requests: [{ url: '/rows' }, { url: '/rows' }],
  async invariant (app) {
    assert.equal((await app.inject('/open')).json(), 1, 'one connection')
  }
}, racyApp, fixedApp)
