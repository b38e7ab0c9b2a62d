// app.ts
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { definePolicies } from 'fastify-concurrency/limiter'
import { jobs } from './jobs.ts'

const plans: Record<string, { rate: number, burst: number }> = { acme: { rate: 50, burst: 100 }, initech: { rate: 5, burst: 10 } }
const free = { rate: 1, burst: 2 }

const policies = definePolicies({
  tenant: {
    stage: 'preHandler',                                   // decided after authentication
    key: (request) => request.tenant,                      // verified: a tenant that a client invents gets no bucket
    rate: (tenant) => (plans[tenant] ?? free).rate,
    burst: (tenant) => (plans[tenant] ?? free).burst
  },
  address: { rate: 20, burst: 100, key: 'address', expose: false }   // before authentication, for everybody
})

declare module 'fastify' {
  interface FastifyRequest { tenant: string }
}

const app = Fastify()
await app.register(concurrency, { workers: { jobs }, limiter: { policies } })

app.decorateRequest('tenant', '')
app.addHook('preHandler', async (request, reply) => {
  const tenant = request.headers['x-tenant']               // in a real service: from a verified token
  if (typeof tenant !== 'string' || !Object.hasOwn(plans, tenant)) return reply.code(401).send({ error: 'Who are you?' })
  request.tenant = tenant
})

app.get<{ Params: { id: string } }>('/reports/:id', async (request) => {
  return app.workers.run('report', request.params.id, { key: request.tenant })
})

await app.listen({ port: 3000 })
