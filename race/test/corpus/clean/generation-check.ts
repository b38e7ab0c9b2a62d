import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'A fetch remembers the generation of the settings and throws its answer away if they have been set in the meantime.'

interface Settings { generation: number, theme: string }

async function startOrigin (app: FastifyInstance): Promise<string> {
  const origin = createServer((_request, response) => { response.setHeader('connection', 'close').end('{"theme":"light"}') })
  await new Promise<void>((resolve) => origin.listen(0, '127.0.0.1', resolve))
  app.addHook('onClose', async () => { origin.close() })
  return `http://127.0.0.1:${(origin.address() as AddressInfo).port}`
}

async function build ({ shared }: Tools): Promise<FastifyInstance> {
  const app = Fastify()
  const url = await startOrigin(app)
  const settings: Settings = shared({ generation: 0, theme: 'none' }, 'settings')
  app.post('/settings/refresh', async () => {
    const { generation } = settings
    const { theme } = await (await fetch(url)).json() as { theme: string }
    if (settings.generation === generation) settings.theme = theme
    return 'refreshed'
  })
  app.put<{ Params: { theme: string } }>('/settings/:theme', async ({ params }) => {
    settings.generation++
    settings.theme = params.theme
    return 'set'
  })
  app.get('/settings', async () => settings.theme)
  return app
}

export const program: Program = {
  name: 'clean/generation-check',
  source: 'pattern: generation number',
  build,
  requests: [{ method: 'POST', url: '/settings/refresh' }, { method: 'PUT', url: '/settings/dark' }],
  async invariant (app, responses) {
    assert.deepEqual(responses.map(({ statusCode }) => statusCode), [200, 200])
    assert.match((await app.inject('/settings')).payload, /^(dark|light)$/)
  }
}
