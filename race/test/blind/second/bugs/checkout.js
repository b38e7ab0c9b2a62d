// Ixotic27/The-Leetcode-City#517: a pending purchase is looked for, the item and the billing are checked, and then a purchase is inserted.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const build = (isFixed) => () => {
  const app = Fastify()
  const purchases = []
  const billing = { async createSession (item) { await sleep(3); return `cs_${item}` } }
  let sequence = 0

  app.post('/checkout/:developer/:item', async ({ params: { developer, item } }, reply) => {
    const pending = purchases.find((purchase) => purchase.developer === developer && purchase.item === item && purchase.status === 'pending')
    if (pending !== undefined) return reply.code(200).send({ session: 'pending' })
    if (isFixed) purchases.push({ id: ++sequence, developer, item, status: 'pending' })
    const session = await billing.createSession(item)
    if (!isFixed) purchases.push({ id: ++sequence, developer, item, status: 'pending' })
    return { session }
  })
  app.get('/purchases', async () => purchases.length)
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = [{ method: 'POST', url: '/checkout/ann/pixel' }, { method: 'POST', url: '/checkout/ann/pixel' }]
