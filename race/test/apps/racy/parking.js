/* eslint no-labels: off -- the app shows what the language has */
// Labelled loops look for a free place, and the place is taken after a call.
import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'

const floors = [[null, null], [null]]

async function park (plate) {
  search: for (const floor of floors) {
    for (const [place, car] of floor.entries()) {
      if (car === plate) break search
      if (car !== null) continue
      await wait(1)
      floor[place] = plate
      return { floor: floors.indexOf(floor), place }
    }
  }
}

export const requests = ['/park/A', '/park/B'].map((url) => ({ method: 'POST', url }))

export function build () {
  const app = Fastify()
  app.post('/park/:plate', async (request, reply) => await park(request.params.plate) ?? reply.code(409).send())
  return app
}
