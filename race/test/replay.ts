// Runs one seed of explore() fifty times, and prints what it led to, if that was the same each time. `.ci/run` runs it twice on each Node.
// Usage: node --conditions=fastify-concurrency-source --import ./loader/typescript.js test/race/replay.ts 7
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { tryOrder } from '../src/explore/explore.ts'
import { shared } from '../src/index.ts'

const TIMES = 50
const seed = Number(process.argv[2] ?? 7)
const file = join(tmpdir(), `replay-${process.pid}.json`)

/** An app whose requests wait for files, timers, immediates and a method of their own. */
async function build (): Promise<FastifyInstance> {
  await writeFile(file, '0')
  const app = Fastify() as unknown as FastifyInstance
  const stats = shared({ visits: 0 }, 'stats')
  app.decorate('store', { load: async () => Number(await readFile(file, 'utf8')) })
  app.get('/', async () => {
    const { visits } = stats
    const count = await app.getDecorator<{ load: () => Promise<number> }>('store').load()
    await Promise.all([sleep(3), turn(), new Promise((resolve) => setTimeout(resolve, 1))])
    await writeFile(file, String(count + 1))
    stats.visits = visits + 1
    return { count, visits }
  })
  return app
}

async function once (): Promise<string> {
  const bodies: string[] = []
  const { order, reports, failure } = await tryOrder(build, {
    requests: ['/', '/', '/'],
    operations: ['store.load'],
    invariant: (_app, responses) => { bodies.push(...responses.map(({ body }) => body)) }
  }, seed)
  assert.equal(failure, undefined)
  // Request ids count on from one run to the next.
  return JSON.stringify({ order, bodies, reports: reports.map(({ kind, location }) => `${kind} on ${location}`) }).replace(/req-\w+/g, 'req')
}

const first = await once()
for (let time = 1; time < TIMES; time++) assert.equal(await once(), first, `time ${time + 1} of ${TIMES}`)
console.log(`seed ${seed}, ${TIMES} times: ${createHash('sha256').update(first).digest('hex').slice(0, 16)}`)
