import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { Counter, Registry } from 'prom-client'

const registry = new Registry()
const orders = new Counter({ name: 'orders_total', help: 'Orders', registers: [registry] })
const app = Fastify()
await app.register(concurrency, { metrics: { registry } })
app.post('/orders', async () => { orders.inc() })
app.get('/metrics', { config: { limiter: false } }, async (_request, reply) => reply.type(registry.contentType).send(await registry.metrics()))
export {}
