import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'If-Match is compared with the document in the step that replaces it, after the awaits. Who comes second is told so with a 412.'

const etagOf = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 8)

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const doc = shared({ text: 'v1', saves: 0 }, 'doc')
  app.put<{ Body: { text: string } }>('/doc', async (request, reply) => {
    const early = etagOf(doc.text)
    await sleep(1) // checks the spelling
    request.log.debug({ early })
    if (request.headers['if-match'] !== etagOf(doc.text)) return reply.code(412).send({ error: 'the document has changed' })
    doc.text = request.body.text
    doc.saves += 1
    return reply.header('etag', etagOf(doc.text)).send({ saves: doc.saves })
  })
  app.get('/doc', async () => doc)
  return app
}

export const program: Program = {
  name: 'clean/etag-check',
  source: 'pattern: optimistic lock over HTTP',
  build,
  requests: ['by ann', 'by ben'].map((text) => ({ method: 'PUT', url: '/doc', headers: { 'if-match': etagOf('v1') }, payload: { text } })),
  async invariant (app, responses) {
    assert.deepEqual(responses.map(({ statusCode }) => statusCode).sort(), [200, 412])
    assert.equal((await app.inject('/doc')).json<{ saves: number }>().saves, 1)
  }
}
