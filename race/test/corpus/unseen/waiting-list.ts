// When a place is given back, the first person of a waiting list is told and then taken off the list.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'The head of a waiting list is read, notified, and then removed. Two cancellations notify the same person, and the next one is dropped.'

interface Course { waiting: string[], attending: string[] }

const notify = async (_person: string): Promise<void> => new Promise((resolve) => { setTimeout(resolve, 1) })

async function promoteLate (course: Course): Promise<void> {
  const [person] = course.waiting
  if (person === undefined) return
  await notify(person)
  course.waiting.shift()
  course.attending.push(person)
}

async function promoteAtOnce (course: Course): Promise<void> {
  const person = course.waiting.shift()
  if (person === undefined) return
  await notify(person)
  course.attending.push(person)
}

const build = (promote: typeof promoteLate) => ({ shared }: Tools): FastifyInstance => {
  const app = Fastify()
  const course: Course = shared({ waiting: ['ann', 'ben', 'cat'], attending: [] }, 'course')
  app.delete('/bookings/:id', async () => {
    await sleep(1) // refunds the fee
    await promote(course)
    return 'cancelled'
  })
  app.get('/course', async () => course)
  return app
}

export const { racy, fixed } = pair({
  name: 'unseen/waiting-list',
  source: 'pattern: head of a queue',
  requests: [{ method: 'DELETE', url: '/bookings/1' }, { method: 'DELETE', url: '/bookings/2' }],
  async invariant (app) {
    const { waiting, attending } = (await app.inject('/course')).json<Course>()
    assert.deepEqual({ waiting, attending: attending.sort() }, { waiting: ['cat'], attending: ['ann', 'ben'] })
  }
}, build(promoteLate), build(promoteAtOnce))
