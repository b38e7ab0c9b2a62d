import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
const app = Fastify()
declare const urls: string[]
declare function warm (url: string, options: { signal: AbortSignal }): Promise<void>
// after
await app.register(concurrency, { tasks: { concurrency: 16 } })

app.get('/pages', async () => app.tasks.group({ limit: 4 }).map(urls, async (url, { signal }) => (await fetch(url, { signal })).text()))

app.post('/warm', async (request, reply) => {
  app.tasks.submit('warm:home', ({ signal }) => warm('https://example.com', { signal }), { duplicate: 'join' })
  return reply.code(202).send()
})
export {}
