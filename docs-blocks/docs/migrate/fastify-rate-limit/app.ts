// app.ts
import Fastify from 'fastify'
import limiter from 'fastify-concurrency/limiter'

const app = Fastify()
await app.register(limiter, { policies: { client: { rate: 100, per: 'minute', burst: 100, key: 'address' } } })

app.get('/', async () => 'hello\n')
app.get('/login', { config: { rateLimit: { max: 1, timeWindow: '1 minute' } } }, async () => 'welcome\n')   // as before

await app.listen({ port: 3000 })
