// A quota of bytes for each user. The size of an upload is known only when it has been written.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'An upload is checked against the bytes in use before the file is written, and counted afterwards. Together, uploads exceed the quota.'

const QUOTA = 100

class Usage {
  readonly bytes: Map<string, number>

  constructor (bytes: Map<string, number>) {
    this.bytes = bytes
  }

  fits (user: string, size: number): boolean {
    return (this.bytes.get(user) ?? 0) + size <= QUOTA
  }

  add (user: string, size: number): void {
    this.bytes.set(user, (this.bytes.get(user) ?? 0) + size)
  }
}

type Upload = (usage: Usage, user: string, size: number, write: () => Promise<void>) => Promise<boolean>

const countAfterwards: Upload = async (usage, user, size, write) => {
  if (!usage.fits(user, size)) return false
  await write()
  usage.add(user, size)
  return true
}

const countBefore: Upload = async (usage, user, size, write) => {
  if (!usage.fits(user, size)) return false
  usage.add(user, size)
  try {
    await write()
  } catch (error) {
    usage.add(user, -size)
    throw error
  }
  return true
}

const build = (upload: Upload) => async ({ shared }: Tools): Promise<FastifyInstance> => {
  const app = Fastify()
  const folder = await mkdtemp(join(tmpdir(), 'corpus-'))
  app.addHook('onClose', async () => rm(folder, { recursive: true }))
  const usage = new Usage(shared(new Map<string, number>(), 'usage.bytes'))
  app.put<{ Params: { user: string, file: string }, Body: { size: number } }>('/:user/:file', async ({ params, body: { size } }, reply) => {
    const stored = await upload(usage, params.user, size, async () => writeFile(join(folder, params.file), randomBytes(size)))
    return reply.code(stored ? 201 : 413).send({ stored })
  })
  app.get('/usage', async () => Object.fromEntries(usage.bytes))
  return app
}

export const { racy, fixed } = pair({
  name: 'unseen/upload-quota',
  source: 'pattern: quota',
  requests: ['a', 'b', 'c'].map((file) => ({ method: 'PUT', url: `/ann/${file}`, payload: { size: 60 } })),
  async invariant (app) {
    assert.deepEqual((await app.inject('/usage')).json(), { ann: 60 })
  }
}, build(countAfterwards), build(countBefore))
