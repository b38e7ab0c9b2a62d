// contember/contember#275: all idle connections are disposed of, and the list of idle ones is replaced afterwards.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

class Pool {
  constructor (isFixed) {
    this.isFixed = isFixed
    this.idle = [{ id: 1, open: true }, { id: 2, open: true }]
    this.created = 2
  }

  async dispose (connection) {
    await sleep(2)
    connection.open = false
  }

  async drain () {
    if (this.isFixed) {
      const idle = this.idle
      this.idle = []
      await Promise.allSettled(idle.map((each) => this.dispose(each)))
      return idle.length
    }
    const count = this.idle.length
    await Promise.allSettled(this.idle.map((each) => this.dispose(each)))
    this.idle = []
    return count
  }

  release (connection) {
    this.idle.push(connection)
  }
}

const build = (isFixed) => () => {
  const app = Fastify()
  const pool = new Pool(isFixed)
  app.post('/drain', async () => ({ disposed: await pool.drain() }))
  app.post('/query', async () => {
    const connection = { id: ++pool.created, open: true }
    await sleep(1)
    pool.release(connection)
    return { by: connection.id }
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = [{ method: 'POST', url: '/drain' }, { method: 'POST', url: '/query' }]
