// app.ts
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import workers, { type Workers } from 'fastify-concurrency/workers'
import { imageJobs } from './image-jobs.ts'
import { jobs } from './jobs.ts'

const app = Fastify()
await app.register(concurrency, { workers: { jobs } })
await app.register(workers, { jobs: imageJobs, decorator: 'images', maxThreads: 1 })
await app.ready()

const images = app.getDecorator<Workers<typeof imageJobs>>('images')
console.log(await app.workers.run('square', 7), await images.run('invert', [0, 255]))
await app.close()
