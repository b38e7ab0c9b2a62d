// hackmcgill/hackerAPI#461: middlewares look for a hacker of the account, validate, and create one; two quick requests create two.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const build = (isFixed) => () => {
  const app = Fastify()
  const hackers = []
  const locked = new Set()
  const findByAccount = async (account) => { await sleep(1); return hackers.find((hacker) => hacker.account === account) }
  const create = async (details) => { await sleep(1); hackers.push(details); return details }

  const ensureNone = async (request, reply) => {
    const { account } = request.params
    if (isFixed) {
      if (locked.has(account)) return reply.code(409).send({ message: 'busy' })
      locked.add(account)
    }
    if (await findByAccount(account)) return reply.code(409).send({ message: 'exists' })
  }
  const parse = async (request) => { request.details = { account: request.params.account, school: 'McGill' } }

  app.decorateRequest('details', null)
  app.post('/hacker/:account', { preHandler: [ensureNone, parse] }, async (request) => {
    await create(request.details)
    return { created: true }
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = ['/hacker/ann', '/hacker/ann'].map((url) => ({ method: 'POST', url }))
