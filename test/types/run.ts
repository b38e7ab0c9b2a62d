// What run() and map() accept, and what they resolve with.
import Fastify from 'fastify'
import type { JobName, JobPayload, JobResult, Workers } from 'fastify-concurrency/workers'
import { holds, type Equal } from './equal.ts'
import type { jobs } from './jobs.ts'
import type { Picture } from './jobs/thumbnail.ts'

type J = typeof jobs

const app = Fastify()
const workers = app.getDecorator<Workers<J>>('images')
const image = new Uint8Array(1)

holds<Equal<JobName<J>, 'thumbnail' | 'length' | 'greet' | 'tick' | 'legacy'>>()

// From an async job, out of transfer(), a function in place of a module, a CommonJS module.
holds<Equal<JobResult<J, 'thumbnail'>, Picture>>()
holds<Equal<JobResult<J, 'length'>, number>>()
holds<Equal<JobResult<J, 'tick'>, Date>>()
holds<Equal<JobResult<J, 'legacy'>, string[]>>()
holds<Equal<JobPayload<J, 'thumbnail'>, { image: Uint8Array, width: number }>>()
holds<Equal<JobPayload<J, 'greet'>, string | undefined>>()
holds<Equal<JobPayload<J, 'tick'>, undefined>>()
holds<Equal<JobPayload<J, 'legacy'>, { pages: number }>>()

const picture = workers.run('thumbnail', { image, width: 100 })
holds<Equal<typeof picture, Promise<Picture>>>()
await picture

// @ts-expect-error: no job of that name
void workers.run('thumbnails', { image, width: 100 })
// @ts-expect-error: another pool's job
void workers.run('other')
// @ts-expect-error: a field of another type
void workers.run('thumbnail', { image, width: '100' })
// @ts-expect-error: a field is missing
void workers.run('thumbnail', { image })
// @ts-expect-error: a field too many
void workers.run('thumbnail', { image, width: 100, height: 100 })
// @ts-expect-error: no payload
void workers.run('thumbnail')
// @ts-expect-error: no payload, with options
void workers.run('thumbnail', undefined, { timeout: 1_000 })

holds<Equal<ReturnType<typeof workers.canRun>, boolean>>()
workers.canRun('thumbnail', { key: 'tenant', priority: 'low', timeout: 1_000 })
// @ts-expect-error: no job of that name
workers.canRun('thumbnails')
// @ts-expect-error: misspelt
workers.canRun('thumbnail', { timout: 1_000 })

// A payload may be left out only where the job takes none, or an optional one.
void workers.run('tick')
void workers.run('tick', undefined, { timeout: 1_000 })
void workers.run('greet')
void workers.run('greet', 'Ada')
// @ts-expect-error: it takes none
void workers.run('tick', 1)

const signal = AbortSignal.timeout(1_000)
void workers.run('length', 'text', { signal, timeout: 1_000, priority: 'low', key: 'tenant', detached: true, transferList: [image.buffer], onProgress: (value: unknown) => value })
// @ts-expect-error: misspelt
void workers.run('length', 'text', { timout: 1_000 })
// @ts-expect-error: no such class
void workers.run('length', 'text', { priority: 'urgent' })
// @ts-expect-error: what progress() was given isn't typed
void workers.run('length', 'text', { onProgress: (value: number) => value })

const lengths = workers.map('length', new Set(['a', 'bc']), { signal })
holds<Equal<typeof lengths, Promise<number[]>>>()
await lengths
// @ts-expect-error: the items are of another type
void workers.map('length', [1, 2])
// @ts-expect-error: a buffer can't move with every item
void workers.map('length', ['a'], { transferList: [] })
