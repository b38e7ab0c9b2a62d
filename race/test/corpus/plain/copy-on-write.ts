// The program of clean/copy-on-write.ts, as an application that knows no detector: a variable of the module holds the snapshot.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'

let routes = [{ host: 'a.org', target: 't1' }, { host: 'b.org', target: 't1' }]

export function build (): FastifyInstance {
  const app = Fastify()
  app.get('/resolve', async () => {
    const snapshot = routes
    const targets: string[] = []
    for (const route of snapshot) {
      await sleep(1)
      targets.push(route.target)
    }
    return targets
  })
  app.put<{ Params: { target: string } }>('/target/:target', async ({ params: { target } }) => {
    routes = routes.map((route) => ({ ...route, target }))
    return 'replaced'
  })
  return app
}
