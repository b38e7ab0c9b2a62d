// rstudio/shiny-server#283, mongodb/node-mongodb-native#3255: what is being started counts in the turn of the test, and is taken off if it fails.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

class Pool {
  connections = []
  pending = 0
  waiting = []

  constructor (max) { this.max = max }

  async acquire () {
    const idle = this.connections.find((connection) => !connection.busy)
    if (idle !== undefined) {
      idle.busy = true
      return idle
    }
    if (this.connections.length + this.pending < this.max) {
      this.pending++
      try {
        await sleep(1)
        const connection = { busy: true, uses: 0 }
        this.connections.push(connection)
        return connection
      } finally {
        this.pending--
      }
    }
    return new Promise((resolve) => this.waiting.push(resolve))
  }

  release (connection) {
    const next = this.waiting.shift()
    if (next !== undefined) return next(connection)
    connection.busy = false
  }
}

export function build () {
  const app = Fastify()
  const pool = new Pool(2)
  app.get('/query', async () => {
    const connection = await pool.acquire()
    try {
      await sleep(2)
      connection.uses++
      return { open: pool.connections.length <= 2 }
    } finally {
      pool.release(connection)
    }
  })
  return app
}

export const requests = ['/query', '/query', '/query']
