import Fastify from 'fastify'
import race, { hammer, shared } from 'fastify-concurrency-race'

const app = Fastify()
await app.register(race, { fail: true })     // close() rejects with FC_ERR_RACE if requests raced
const visits = shared(new Map<string, number>(), 'visits')
app.get('/', async () => visits.set('home', (visits.get('home') ?? 0) + 1).size)
await hammer(app, '/', { times: 20, concurrency: 4 })
await app.close()
export {}
