// The playbook's pairs about shared state: the detector finds what each BAD handler does, and nothing in the GOOD one.
import { setImmediate as turn } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import locks from 'fastify-concurrency/locks'
import race, { hammer } from 'fastify-concurrency-race'
import t from 'tap'
import { detector } from '../../race/src/detector.ts'
import * as append from '../../example/playbook/race-append.ts'
import * as counter from '../../example/playbook/race-counter.ts'
import * as flag from '../../example/playbook/race-flag.ts'
import * as iteration from '../../example/playbook/race-iteration.ts'
import * as lazyInit from '../../example/playbook/race-lazy-init.ts'
import * as map from '../../example/playbook/race-map.ts'
import * as readModifyWrite from '../../example/playbook/race-read-modify-write.ts'

const pairs = {
  'lost update on stats.visits': counter,
  'check then act on state.importer': flag,
  'check then act on owners.get("ada")': map,
  'lost update on event.guests': append,
  'check then act on state.connection': lazyInit,
  'lost update on accounts.get("ada")': readModifyWrite,
  'iteration on listeners': iteration
}

async function hammered (plugin: typeof counter.bad): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(race, { fail: true })
  await app.register(locks)
  await app.register(plugin, { call: async () => turn() })
  const responses = await hammer(app, '/', { times: 12, concurrency: 3 })
  t.strictSame(responses.filter(({ statusCode }) => statusCode >= 500), [])
  return app
}

for (const [report, { bad, good }] of Object.entries(pairs)) {
  t.test(`BAD: ${report}; GOOD: nothing`, async (t) => {
    const unsilence = detector.reports.silence()
    t.teardown(unsilence)
    await t.rejects((await hammered(bad)).close(), { code: 'FC_ERR_RACE', message: new RegExp(report.replace(/[.()]/g, '\\$&')) })
    await t.resolves((await hammered(good)).close())
  })
}
