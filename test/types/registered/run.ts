// An application that said which jobs it has: `app.workers` knows them. A program of its own, since what is declared here holds everywhere in it.
import Fastify from 'fastify'
import concurrency, { type Workers } from 'fastify-concurrency'
import { holds, type Equal } from '../equal.ts'
import { jobs, type otherJobs } from '../jobs.ts'
import type { Picture } from '../jobs/thumbnail.ts'

declare module 'fastify-concurrency' {
  interface Register { jobs: typeof jobs }
}

const app = Fastify()
await app.register(concurrency, { workers: { jobs } })

app.post<{ Body: Uint8Array }>('/thumbnails', async (request) => {
  const picture = await app.workers.run('thumbnail', { image: request.body, width: 100 })
  holds<Equal<typeof picture, Picture>>()
  holds<Equal<typeof request.disconnected, AbortSignal>>()
  return picture.pixels
})

holds<Equal<typeof app.workers, Workers<typeof jobs>>>()

const length = app.workers.run('length', 'text')
holds<Equal<typeof length, Promise<number>>>()
await length

// @ts-expect-error: no job of that name
void app.workers.run('lenght', 'text')
// @ts-expect-error: of another type
void app.workers.run('length', 1)
// @ts-expect-error: a job of the second pool
void app.workers.run('other')

const second = app.getDecorator<Workers<typeof otherJobs>>('others')
void second.run('other')
// @ts-expect-error: a job of the first pool
void second.run('length', 'text')
