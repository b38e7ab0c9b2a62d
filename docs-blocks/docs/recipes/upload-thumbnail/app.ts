// app.ts
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { jobs } from './jobs.ts'

const app = Fastify({ bodyLimit: 10 * 1024 * 1024 })
await app.register(concurrency, { workers: { jobs } })

app.addContentTypeParser(/^image\//, { parseAs: 'buffer' }, (_request, body, done) => done(null, body))

app.post<{ Body: Buffer }>('/thumbnails', async (request, reply) => {
  const image = owned(request.body)
  const jpeg = await app.workers.run('thumbnail', { image, width: 320 }, { transferList: [image] })
  return reply.type('image/jpeg').send(Buffer.from(jpeg.buffer))
})

/** Node cuts small Buffers out of memory that many share. To transfer that memory would take the others' bytes away. */
function owned (bytes: Uint8Array): ArrayBuffer {
  const { buffer, byteOffset, byteLength } = bytes
  const isWhole = buffer instanceof ArrayBuffer && byteOffset === 0 && byteLength === buffer.byteLength
  return isWhole ? buffer : new Uint8Array(bytes).buffer
}

await app.listen({ port: 3000 })
