import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'Changes of the document in memory are synchronous, and a chain of promises writes the file. Each write takes the newest text.'

interface Notes { texts: string[] }

class SerialWriter {
  #tail: Promise<void> = Promise.resolve()

  write (path: string, text: () => string): Promise<void> {
    this.#tail = this.#tail.then(async () => writeFile(path, text()))
    return this.#tail
  }
}

async function build ({ shared }: Tools): Promise<FastifyInstance> {
  const app = Fastify()
  const folder = await mkdtemp(join(tmpdir(), 'corpus-'))
  app.addHook('onClose', async () => rm(folder, { recursive: true }))
  const path = join(folder, 'notes.json')
  const notes: Notes = shared({ texts: [] }, 'notes')
  const writer = new SerialWriter()
  app.post<{ Params: { text: string } }>('/notes/:text', async ({ params }, reply) => {
    notes.texts.push(params.text)
    await writer.write(path, () => JSON.stringify(notes.texts))
    return reply.code(201).send()
  })
  app.get('/file', async () => JSON.parse(await readFile(path, 'utf8')) as string[])
  return app
}

export const program: Program = {
  name: 'clean/serial-writer',
  source: 'pattern: serial writer of a file',
  build,
  requests: ['a', 'b', 'c'].map((text) => ({ method: 'POST', url: `/notes/${text}` })),
  async invariant (app) {
    assert.deepEqual((await app.inject('/file')).json<string[]>().sort(), ['a', 'b', 'c'])
  }
}
