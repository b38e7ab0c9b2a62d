// app.ts
import { createHmac, timingSafeEqual } from 'node:crypto'
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { tasks } from './tasks.ts'

const secret = process.env['WEBHOOK_SECRET'] ?? 'secret'

const app = Fastify()
await app.register(concurrency, { tasks: { tasks } })

// The signature is of the bytes, so the body is parsed after it has been checked.
app.addContentTypeParser('application/json', { parseAs: 'buffer', bodyLimit: 64 * 1024 }, (_request, body, done) => done(null, body))

app.post<{ Body: Buffer }>('/webhooks', async (request, reply) => {
  if (!isSigned(request.body, request.headers['x-signature'])) return reply.code(401).send({ error: 'Wrong signature' })
  const event = JSON.parse(request.body.toString()) as { id: string, type: string }
  // A second delivery joins the first while that one waits or runs.
  await app.tasks.enqueue('webhook', event, { id: event.id, duplicate: 'join' })
  return reply.code(202).send({ accepted: event.id })
})

function isSigned (body: Buffer, signature: unknown): boolean {
  const expected = createHmac('sha256', secret).update(body).digest()
  const given = Buffer.from(String(signature), 'hex')
  return given.length === expected.length && timingSafeEqual(given, expected)
}

await app.listen({ port: 3000 })
