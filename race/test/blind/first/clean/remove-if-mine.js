// KanishJebaMathewM/Truxify#11979, prisma-session-store#88: a claim is removed only by whoever made it.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  const leases = new Map()
  let leased = 0

  async function lease (resource) {
    while (leases.has(resource)) await leases.get(resource).done
    let release
    const mine = { id: ++leased, done: new Promise((resolve) => { release = resolve }) }
    leases.set(resource, mine)
    return () => {
      if (leases.get(resource) === mine) leases.delete(resource)
      release()
    }
  }

  const rows = { total: 0 }
  app.post('/add/:n', async ({ params: { n } }) => {
    const release = await lease('total')
    try {
      const { total } = rows
      await sleep(2)
      rows.total = total + Number(n)
      return { added: Number(n) }
    } finally {
      release()
    }
  })
  return app
}

export const requests = [{ method: 'POST', url: '/add/1' }, { method: 'POST', url: '/add/2' }, { method: 'POST', url: '/add/3' }]
