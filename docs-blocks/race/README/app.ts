// app.ts
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import race, { hammer, shared } from 'fastify-concurrency-race'

const app = Fastify()
await app.register(race)

const visits = shared(new Map<string, number>(), 'visits')

app.get('/', async () => {
  const count = visits.get('home') ?? 0
  await sleep(1)                           // a query, a call of another service
  visits.set('home', count + 1)
  return { count: count + 1 }
})

await hammer(app, '/', { times: 20, concurrency: 4 })
await app.close()
