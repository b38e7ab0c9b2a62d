import Fastify from 'fastify'
import limiter from 'fastify-concurrency/limiter'

let now = 0
const app = Fastify()
await app.register(limiter, { policies: { client: { rate: 1, burst: 1, key: 'address' } }, clock: { now: () => now } })
app.get('/', async () => 'hello')

await app.inject('/')                          // 200
await app.inject('/')                          // 429
now += 1_000
await app.inject('/')                          // 200
export {}
