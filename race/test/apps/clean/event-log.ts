import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'

interface Event { id: number, kind: string }

function createLog () {
  const events: Event[] = []
  let next = 1
  return {
    add (kind: string): Event {
      const event = { id: next++, kind }
      events.push(event)
      return event
    },
    since: (id: number): Event[] => events.filter((event) => event.id > id)
  }
}

export const requests = ['/add/a', '/since/0', '/add/b', '/since/1']

export function build () {
  const app = Fastify()
  const log = createLog()
  app.get<{ Params: { kind: string } }>('/add/:kind', async (request) => {
    await wait(1)
    return log.add(request.params.kind)
  })
  app.get<{ Params: { id: string } }>('/since/:id', async (request) => {
    const events = log.since(Number(request.params.id))
    await wait(1)
    return events.concat(log.since(Number(request.params.id)))
  })
  return app
}
