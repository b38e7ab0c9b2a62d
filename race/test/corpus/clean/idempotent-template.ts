import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'A template is read from a file that never changes. The first requests may each read it, and store the same text.'

async function build ({ shared }: Tools): Promise<FastifyInstance> {
  const app = Fastify()
  const folder = await mkdtemp(join(tmpdir(), 'corpus-'))
  app.addHook('onClose', async () => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'hello.txt'), 'Hello NAME')
  const templates: Record<string, string> = shared({}, 'templates')
  const template = async (name: string): Promise<string> => {
    templates[name] ??= await readFile(join(folder, `${name}.txt`), 'utf8')
    return templates[name]
  }
  app.get<{ Querystring: { name: string } }>('/hello', async ({ query }) => (await template('hello')).replace('NAME', query.name))
  return app
}

export const program: Program = {
  name: 'clean/idempotent-template',
  source: 'race.md: an idempotent fill',
  build,
  requests: ['Ann', 'Ben'].map((name) => ({ url: '/hello', query: { name } })),
  invariant (_app, responses) {
    assert.deepEqual(responses.map(({ payload }) => payload), ['Hello Ann', 'Hello Ben'])
  }
}
