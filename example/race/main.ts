/** `npm run example:race`: a racy route is caught, and its fix is silent. */
import Fastify, { type FastifyPluginAsync } from 'fastify'
import locks from 'fastify-concurrency/locks'
import race, { hammer } from 'fastify-concurrency-race'
import { fixed, racy, type Item } from './items.ts'

async function order (name: string, plugin: FastifyPluginAsync): Promise<void> {
  const app = Fastify()
  await app.register(race)
  await app.register(locks)
  await app.register(plugin)
  await hammer(app, { method: 'POST', url: '/order' }, { times: 10, concurrency: 5 })
  const [item] = (await app.inject('/items')).json<Item[]>()
  console.log(`${name}: 10 of 10 sold, ${item?.stock ?? 'none'} left`)
  await app.close()
}

await order('racy', racy)
await order('fixed', fixed)
