// A destructuring assignment swaps two variables with what was read before the await: after two failovers both name the same server.
import Fastify from 'fastify'
import { setTimeout as ping } from 'node:timers/promises'

let [primary, replica] = ['a', 'b']

export const requests = ['/failover', '/failover'].map((url) => ({ method: 'POST', url }))

export function build () {
  const app = Fastify()
  app.post('/failover', async () => {
    const old = primary
    await ping(1);
    [primary, replica] = [replica, old]
    return { primary, replica }
  })
  return app
}
