import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'Readers take a snapshot of the routes and keep it over an await. A writer replaces the snapshot and never changes it.'

type Routes = ReadonlyArray<{ readonly host: string, readonly target: string }>

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const table = shared({ routes: [{ host: 'a.org', target: 't1' }, { host: 'b.org', target: 't1' }] as Routes }, 'table')
  app.get('/resolve', async () => {
    const snapshot = table.routes
    const targets: string[] = []
    for (const route of snapshot) {
      await sleep(1)
      targets.push(route.target)
    }
    return targets
  })
  app.put<{ Params: { target: string } }>('/target/:target', async ({ params: { target } }) => {
    table.routes = table.routes.map((route) => ({ ...route, target }))
    return 'replaced'
  })
  return app
}

export const program: Program = {
  name: 'clean/copy-on-write',
  source: 'pattern: copy on write',
  build,
  requests: [{ url: '/resolve' }, { method: 'PUT', url: '/target/t2' }, { url: '/resolve' }],
  invariant (_app, [first, , second]) {
    for (const response of [first, second]) assert.equal(new Set(response!.json<string[]>()).size, 1, 'a reader sees one table')
  }
}
