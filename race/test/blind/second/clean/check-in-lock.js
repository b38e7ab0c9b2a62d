// SandeepVashishtha/Eventra#6192: a Set of the tickets that are being checked in; whoever finds its ticket there is refused.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const checkInLocks = () => new Set()

export function build () {
  const app = Fastify()
  const locks = checkInLocks()
  const registrations = { r1: { attendanceStatus: 'Registered' } }

  app.post('/check-in/:id', async ({ params: { id } }, reply) => {
    if (locks.has(id)) return reply.code(409).send({ error: 'busy' })
    locks.add(id)
    try {
      await sleep(1)
      const registration = registrations[id]
      if (registration.attendanceStatus === 'Checked In') return reply.code(409).send({ error: 'already in' })
      await sleep(1)
      registration.attendanceStatus = 'Checked In'
      return { in: true }
    } finally {
      locks.delete(id)
    }
  })
  return app
}

export const requests = [{ method: 'POST', url: '/check-in/r1' }, { method: 'POST', url: '/check-in/r1' }]
