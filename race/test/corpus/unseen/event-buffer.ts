// Events are collected in a buffer, which is written to a file when it is full.
import assert from 'node:assert/strict'
import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'A flush writes the buffer to a file and then empties the buffer. Events that came during the write are lost.'

interface Log { buffer: string[] }

async function flushLate (log: Log, path: string): Promise<void> {
  const lines = log.buffer.map((event) => `${event}\n`)
  await appendFile(path, lines.join(''))
  log.buffer = []
}

async function flushSwapped (log: Log, path: string): Promise<void> {
  const events = log.buffer
  log.buffer = []
  await appendFile(path, events.map((event) => `${event}\n`).join(''))
}

const build = (flush: typeof flushLate) => async ({ shared }: Tools): Promise<FastifyInstance> => {
  const app = Fastify()
  const folder = await mkdtemp(join(tmpdir(), 'corpus-'))
  app.addHook('onClose', async () => rm(folder, { recursive: true }))
  const path = join(folder, 'events.log')
  const log: Log = shared({ buffer: [] }, 'log')
  app.post<{ Params: { event: string } }>('/events/:event', async ({ params }) => {
    log.buffer.push(params.event)
    if (log.buffer.length >= 2) await flush(log, path)
    return 'noted'
  })
  app.get('/events', async () => {
    const written = await readFile(path, 'utf8').catch(() => '')
    return [...written.split('\n').filter(Boolean), ...log.buffer]
  })
  return app
}

export const { racy, fixed } = pair({
  name: 'unseen/event-buffer',
  source: 'pattern: buffer emptied after its write',
  requests: ['a', 'b', 'c'].map((event) => ({ method: 'POST', url: `/events/${event}` })),
  async invariant (app) {
    assert.deepEqual((await app.inject('/events')).json<string[]>().sort(), ['a', 'b', 'c'])
  }
}, build(flushLate), build(flushSwapped))
