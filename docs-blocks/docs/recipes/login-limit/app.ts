// app.ts
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { policies } from './policies.ts'

const app = Fastify()
await app.register(concurrency, { limiter: { policies } })

app.post<{ Body: { user: string, password: string } }>('/login', {
  schema: { body: { type: 'object', required: ['user', 'password'], properties: { user: { type: 'string' }, password: { type: 'string' } } } },
  config: { limiter: { policies: ['attempts', 'failures'] } }
}, async (request, reply) => {
  const { user, password } = request.body
  if (!await isRight(user, password)) return reply.code(401).send({ error: 'Wrong user or password' })
  return { welcome: user }
})

async function isRight (user: string, password: string): Promise<boolean> {
  return user === 'ada' && password === 'engine'                           // in a real service: a job that verifies a hash
}

await app.listen({ port: 3000 })
