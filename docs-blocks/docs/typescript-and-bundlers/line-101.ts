import Fastify from 'fastify'
import { jobs } from './jobs.ts'
const app = Fastify()
import type { Workers } from 'fastify-concurrency/workers'

const workers = app.getDecorator<Workers<typeof jobs>>('workers')
const nine = await workers.run('square', 3)
export {}
