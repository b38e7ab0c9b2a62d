import { deepEqual, equal, match } from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { http } from '../shared/clients.js'

const here = dirname(fileURLToPath(import.meta.url))
const cli = createRequire(import.meta.url).resolve('fastify-cli/cli.js')

const start = (...flags) => [cli, 'start', '--log-level', 'info', '--port', '0', '--address', '127.0.0.1', ...flags, join(here, 'project/app.js')]

export default async function ({ check, withApp, survives }) {
  execFileSync(process.execPath, [cli, 'generate', 'project', '--esm'], { cwd: here })
  for (const folder of ['plugins', 'routes']) cpSync(join(here, folder), join(here, 'project', folder), { recursive: true })

  await check('answers', () => withApp(start(), async ({ url }) => {
    equal(await http(`${url}/`).ended, '200 {"root":true}')
    equal(await http(`${url}/work?ms=1`).ended, '200 done')
  }))
  await survives('', start('--close-grace-delay', '10000'), {
    'a request': { ask: (url, ms) => http(`${url}/work?ms=${ms}`), answer: '200 done' }
  })
  await check('a task that SIGTERM comes upon is finished', () => withApp(start('--close-grace-delay', '10000'), async (app) => {
    equal(await http(`${app.url}/mails?ms=1000`, { method: 'POST' }).ended, '202 accepted')
    await app.logged(({ msg }) => msg === 'work begins')
    app.terminate()
    await app.logged(({ msg }) => msg === 'mail sent')
    equal(await app.exited(), 0)
    deepEqual(app.errors(), [])
  }))
  await check('FASTIFY_CLOSE_GRACE_DELAY gives a shutdown its time', () => withApp(start(), async (app) => {
    const { ended } = http(`${app.url}/work?ms=1000`)
    await app.logged(({ msg }) => msg === 'work begins')
    app.terminate()
    equal(await ended, '200 done')
    equal(await app.exited(), 0)
    deepEqual(app.errors(), [])
  }, { FASTIFY_CLOSE_GRACE_DELAY: '10000' }))
  await check('without it the log says what was lost, and what to set', () => withApp(start(), async (app) => {
    const { ended } = http(`${app.url}/work?ms=60000`)
    await app.logged(({ msg }) => msg === 'work begins')
    app.terminate()
    const { msg, shutdown } = await app.logged(({ shutdown }) => shutdown !== undefined)
    match(msg, /with 2 unfinished.*--close-grace-delay/)
    deepEqual(shutdown.unfinished.map(({ kind, name }) => `${kind} ${name}`), ['request GET /work', 'job work'])
    equal(await ended, 'ECONNRESET')
    equal(await app.exited(), 1)
  }))
}
