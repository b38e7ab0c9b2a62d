// SandeepVashishtha/Eventra#6192: the status of a registration is read, and written after other work, so one ticket lets two people in.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const build = (isFixed) => () => {
  const app = Fastify()
  const registrations = new Map([['r1', { id: 'r1', attendanceStatus: 'Registered', scans: 0 }]])
  const audit = async (id) => { await sleep(2); return id }

  app.post('/check-in/:id', async (request, reply) => {
    const registration = registrations.get(request.params.id)
    if (!registration) return reply.code(404).send({ error: 'unknown ticket' })
    if (registration.attendanceStatus === 'Checked In') return reply.code(409).send({ error: 'already in' })
    if (isFixed) registration.attendanceStatus = 'Checked In'
    await audit(registration.id)
    registration.attendanceStatus = 'Checked In'
    return { welcome: registration.id }
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = [{ method: 'POST', url: '/check-in/r1' }, { method: 'POST', url: '/check-in/r1' }]
