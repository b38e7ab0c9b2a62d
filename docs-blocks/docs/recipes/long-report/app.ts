// app.ts
import { PassThrough } from 'node:stream'
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { jobs } from './jobs.ts'

const app = Fastify()
await app.register(concurrency, { workers: { jobs } })

app.get<{ Querystring: { parts: string } }>('/report', async (request, reply) => {
  const lines = new PassThrough()
  const write = (line: object): void => { lines.write(`${JSON.stringify(line)}\n`) }
  let hasBegun = false
  const begin = (): void => {
    if (!hasBegun) reply.type('application/x-ndjson').send(lines)
    hasBegun = true
  }
  try {
    const result = await app.workers.run('report', Number(request.query.parts), {
      onProgress: (progress) => {
        begin()
        write({ progress })
      }
    })
    begin()
    write({ result })
  } catch (error) {
    if (!hasBegun) throw error                                 // nothing was sent: a 503 is still a 503
    write({ error: 'The report failed' })
  }
  lines.end()
  return reply
})

await app.listen({ port: 3000 })
