// nodejs/node#14941: the spending of a campaign is tested against its budget before the database is asked, and counted afterwards.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const STOPPED = 11

const build = (isFixed) => () => {
  const app = Fastify()
  const campaigns = { c1: { spent: 80, budget: 100, status: 1 } }
  const db = { async addSpend () { await sleep(2) } }

  app.get('/click/:id/:amount', async (request, reply) => {
    const campaign = campaigns[request.params.id]
    const amount = Number(request.params.amount)
    if (campaign.status === STOPPED || campaign.spent + amount > campaign.budget) return reply.code(402).send({ stopped: true })
    if (isFixed) campaign.spent += amount
    await db.addSpend(request.params.id, amount)
    if (!isFixed) campaign.spent += amount
    if (campaign.spent >= campaign.budget) campaign.status = STOPPED
    return { counted: amount }
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = ['/click/c1/15', '/click/c1/15']
