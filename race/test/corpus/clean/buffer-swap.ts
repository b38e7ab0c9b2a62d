import assert from 'node:assert/strict'
import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'A flush swaps the buffer for an empty one before it writes the old one. What comes during the write goes into the new buffer.'

async function build ({ shared }: Tools): Promise<FastifyInstance> {
  const app = Fastify()
  const folder = await mkdtemp(join(tmpdir(), 'corpus-'))
  app.addHook('onClose', async () => rm(folder, { recursive: true }))
  const path = join(folder, 'audit.log')
  const audit = shared({ lines: [] as string[] }, 'audit')
  app.post<{ Params: { action: string } }>('/audit/:action', async ({ params: { action } }) => {
    audit.lines.push(`${action}\n`)
    const batch = audit.lines.splice(0)
    if (batch.length > 0) await appendFile(path, batch.join(''))
    return { written: batch.length }
  })
  app.get('/audit', async () => (await readFile(path, 'utf8')).trim().split('\n'))
  return app
}

export const program: Program = {
  name: 'clean/buffer-swap',
  source: 'pattern: buffer swapped before its write',
  build,
  requests: ['login', 'logout', 'delete'].map((action) => ({ method: 'POST', url: `/audit/${action}` })),
  async invariant (app) {
    assert.deepEqual((await app.inject('/audit')).json<string[]>().sort(), ['delete', 'login', 'logout'])
  }
}
