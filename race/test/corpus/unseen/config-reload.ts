// A configuration can be reloaded from its file and patched by an administrator.
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'A reload merges the overrides that it read before it awaited the file. A patch that came in between is undone.'

interface Config { base: Record<string, unknown>, overrides: Record<string, unknown> }

async function reloadLate (config: Config, path: string): Promise<void> {
  const overrides = { ...config.overrides }
  const text = await readFile(path, 'utf8')
  config.base = JSON.parse(text) as Record<string, unknown>
  config.overrides = { ...overrides, reloaded: true }
}

async function reloadAtOnce (config: Config, path: string): Promise<void> {
  const text = await readFile(path, 'utf8')
  config.base = JSON.parse(text) as Record<string, unknown>
  config.overrides = { ...config.overrides, reloaded: true }
}

const build = (reload: typeof reloadLate) => async ({ shared }: Tools): Promise<FastifyInstance> => {
  const app = Fastify()
  const folder = await mkdtemp(join(tmpdir(), 'corpus-'))
  app.addHook('onClose', async () => rm(folder, { recursive: true }))
  const path = join(folder, 'config.json')
  await writeFile(path, '{"port":80}')
  const config: Config = shared({ base: {}, overrides: {} }, 'config')
  app.post('/config/reload', async () => {
    await reload(config, path)
    return 'reloaded'
  })
  app.patch<{ Body: Record<string, unknown> }>('/config', async ({ body }) => {
    await sleep(1) // validates the patch
    config.overrides = { ...config.overrides, ...body }
    return 'patched'
  })
  app.get('/config', async () => ({ ...config.base, ...config.overrides }))
  return app
}

export const { racy, fixed } = pair({
  name: 'unseen/config-reload',
  source: 'pattern: stale write after an await',
  requests: [{ method: 'POST', url: '/config/reload' }, { method: 'PATCH', url: '/config', payload: { debug: true } }],
  async invariant (app) {
    assert.deepEqual((await app.inject('/config')).json(), { port: 80, debug: true, reloaded: true })
  }
}, build(reloadLate), build(reloadAtOnce))
