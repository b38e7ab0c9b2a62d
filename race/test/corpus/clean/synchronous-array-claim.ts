import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'A truck is looked for and taken in one synchronous step, though awaits stand before and after that step.'

interface Truck { id: string, load: string | null }

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const loads = new Table({ l1: 'sand', l2: 'wood', l3: 'coal' })
  const trucks: Truck[] = shared([{ id: 't1', load: null }, { id: 't2', load: null }], 'trucks')

  function takeTruck (load: string): Truck | undefined {
    const free = trucks.find((truck) => truck.load === null)
    if (free) free.load = load
    return free
  }

  app.post<{ Params: { load: string } }>('/loads/:load/assign', async ({ params }, reply) => {
    const load = await loads.find(params.load)
    const truck = takeTruck(load!)
    if (!truck) return reply.code(409).send({ error: 'no truck is free' })
    await loads.save(params.load, `${load} on ${truck.id}`)
    return { truck: truck.id }
  })
  return app
}

export const program: Program = {
  name: 'clean/synchronous-array-claim',
  source: 'Truxify#3908',
  build,
  requests: ['l1', 'l2', 'l3'].map((load) => ({ method: 'POST', url: `/loads/${load}/assign` })),
  invariant (_app, responses) {
    const trucks = responses.filter(({ statusCode }) => statusCode === 200).map((response) => response.json<{ truck: string }>().truck)
    assert.deepEqual(trucks.sort(), ['t1', 't2'])
  }
}
