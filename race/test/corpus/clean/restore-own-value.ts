import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'A map holds one controller for each upload. A request deletes the entry only if the entry is still its own.'

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const uploads = shared(new Map<string, AbortController>(), 'uploads')
  app.put<{ Params: { file: string } }>('/files/:file', async ({ params: { file } }) => {
    uploads.get(file)?.abort()
    const controller = new AbortController()
    uploads.set(file, controller)
    await sleep(1) // receives the chunks
    const replaced = controller.signal.aborted
    if (uploads.get(file) === controller) uploads.delete(file)
    return { replaced }
  })
  app.get('/uploads', async () => uploads.size)
  return app
}

export const program: Program = {
  name: 'clean/restore-own-value',
  source: 'pattern: delete only what is one\'s own',
  build,
  requests: ['a', 'a', 'b'].map((file) => ({ method: 'PUT', url: `/files/${file}` })),
  async invariant (app, responses) {
    assert.equal((await app.inject('/uploads')).json(), 0)
    assert.ok(responses.some((response) => !response.json<{ replaced: boolean }>().replaced))
  }
}
