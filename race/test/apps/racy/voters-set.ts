import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'

const poll = {
  voters: new Set<string>(),
  votes: { yes: 0, no: 0 } as Record<string, number>
}

const isAllowed = async (name: string): Promise<boolean> => {
  await wait(1)
  return name.length > 0
}

export const requests = ['/vote/yes?name=ada', '/vote/yes?name=ada']

export function build () {
  const app = Fastify()
  app.get<{ Params: { answer: string }, Querystring: { name: string } }>('/vote/:answer', async ({ params, query }, reply) => {
    if (poll.voters.has(query.name)) return reply.code(409).send('voted before')
    if (!await isAllowed(query.name)) return reply.code(403).send()
    poll.voters.add(query.name)
    poll.votes[params.answer]! += 1
    return poll.votes
  })
  return app
}
