import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'A report awaits once for each value of a snapshot of a map, and sums up in a variable of its own.'

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const readings = shared(new Map([['s1', 10], ['s2', 20]]), 'readings')
  app.get('/report', async () => {
    const snapshot = Array.from(readings.values())
    let sum = 0
    for (const value of snapshot) {
      await sleep(1) // converts the unit
      sum += value
    }
    return { sum, sensors: snapshot.length }
  })
  app.put<{ Params: { sensor: string }, Body: { value: number } }>('/readings/:sensor', async ({ params, body }) => {
    await sleep(1)
    readings.set(params.sensor, body.value)
    return 'stored'
  })
  return app
}

export const program: Program = {
  name: 'clean/iterate-map-snapshot',
  source: 'pattern: iteration over a copy',
  build,
  requests: [{ url: '/report' }, { method: 'PUT', url: '/readings/s3', payload: { value: 5 } }, { url: '/report' }],
  invariant (_app, [first, , second]) {
    for (const response of [first, second]) {
      const { sum, sensors } = response!.json<{ sum: number, sensors: number }>()
      assert.equal(sum, sensors === 2 ? 30 : 35)
    }
  }
}
