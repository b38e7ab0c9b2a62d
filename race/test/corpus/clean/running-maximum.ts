import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'A maximum is compared and replaced in one step after the await.'

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const record = shared({ speed: 0, holder: '' }, 'record')
  app.post<{ Params: { driver: string }, Body: { speed: number } }>('/laps/:driver', async ({ params: { driver }, body: { speed } }) => {
    await sleep(1) // checks the photo
    const isRecord = speed > record.speed
    if (isRecord) {
      record.speed = speed
      record.holder = driver
    }
    return { isRecord }
  })
  app.get('/record', async () => record)
  return app
}

export const program: Program = {
  name: 'clean/running-maximum',
  source: 'pattern: compare and replace in one step',
  build,
  requests: [['ann', 90], ['ben', 120], ['cat', 100]].map(([driver, speed]) => ({ method: 'POST', url: `/laps/${driver}`, payload: { speed } })),
  async invariant (app) {
    assert.deepEqual((await app.inject('/record')).json(), { speed: 120, holder: 'ben' })
  }
}
