// Official plugins of Fastify under overlapping requests, rewritten as if they were the application's own: nothing is reported but the race that the
// application itself holds, and one defect of a plugin.
import { execFile } from 'node:child_process'
import { cpSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import Fastify, { type FastifyInstance, type FastifyPluginAsync, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import locks from '../../plugins/locks/index.ts'
import { shared } from '../src/index.ts'
import type { Lock } from '../../plugins/locks/hold.ts'
import { confirmed, racesOf, turn } from './helper.ts'

const path = (file: string): string => fileURLToPath(new URL(file, import.meta.url))
const require = createRequire(import.meta.url)
type Options = Record<string, unknown>

// Not imported: their types would add to those of every app of the tests.
const [cookie, session, rateLimit] = ['cookie', 'session', 'rate-limit'].map((name) => require(`@fastify/${name}`) as FastifyPluginAsync<Options>) as [FastifyPluginAsync<Options>, FastifyPluginAsync<Options> & { MemoryStore: new (map: Map<string, unknown>) => object }, FastifyPluginAsync<Options>]
const preloads = ['--conditions=fastify-concurrency-source', '--import', path('../../loader/typescript.js'), '--import', path('../src/register/index.ts')]

/** Copies the plugins to a place that is not in node_modules, whose modules are not rewritten. */
function copies (t: Test, names: readonly string[]): string {
  const folder = t.testdir()
  for (const name of names) cpSync(dirname(require.resolve(`@fastify/${name}/package.json`)), join(folder, name), { recursive: true, dereference: true })
  return folder
}

async function reportsOf (folder: string, plugins: readonly string[]): Promise<string[]> {
  const stderr = await new Promise<string>((resolve) => {
    execFile(process.execPath, [...preloads, path('apps/official.ts'), folder, ...plugins], { env: { ...process.env, NODE_OPTIONS: '', RACE: '1' } }, (error, stdout, stderr) => {
      t.equal(error?.code, 66)
      t.equal(stdout, '200 of 200\n'.repeat(plugins.length))
      resolve(stderr)
    })
  })
  return [...stderr.matchAll(/^WARNING: RACE (?!\(possible\))(.+)$/gm)].map(([, report]) => report ?? '')
}

t.test('cookie, session, cors, helmet, etag and caching: only the planted race is found', async (t) => {
  const plugins = ['cookie', 'session', 'cors', 'helmet', 'etag', 'caching']
  t.strictSame(await reportsOf(copies(t, plugins), plugins), ['lost update on planted'])
})

t.test('rate-limit: requests read what later ones have counted', async (t) => {
  const reports = await reportsOf(copies(t, ['rate-limit']), ['rate-limit'])
  t.strictSame(reports.sort(), ['lost update on planted', 'overwritten on current.ttl'])
  // The report is right: with room for one, none of three gets in.
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(rateLimit, { max: 1, timeWindow: 60_000 })
  app.get('/', async () => 'ok')
  t.strictSame((await Promise.all([app.inject('/'), app.inject('/'), app.inject('/')])).map(({ statusCode }) => statusCode), [429, 429, 429])
})

interface Sessions {
  session: Record<string, unknown>
}

/** Two requests of one session, each of which remembers something else. */
async function shop (app: FastifyInstance, isLocked: boolean): Promise<void> {
  await app.register(locks)
  if (isLocked) {
    const held = new WeakMap<FastifyRequest, Lock>()
    const release = async (request: FastifyRequest): Promise<void> => { held.get(request)?.release() }
    // Before the plugin loads the session, until it has saved it.
    app.addHook('onRequest', async (request) => { held.set(request, await app.locks.mutex(`session ${request.headers.cookie}`).acquire()) })
    app.addHook('onResponse', release)
    app.addHook('onRequestAbort', release)
  }
  await app.register(cookie)
  const store = new session.MemoryStore(shared(new Map<string, unknown>(), 'sessions'))
  await app.register(session, { secret: 'a secret of at least thirty-two characters', cookie: { secure: false }, store })
  const remember = (key: string) => async (request: FastifyRequest): Promise<unknown> => {
    await turn()
    ;(request as never as Sessions).session[key] = true
    return 'remembered'
  }
  app.get('/login', remember('user'))
  app.get('/cart', remember('cart'))
  app.get('/theme', remember('theme'))
  app.get('/', async (request) => Object.keys((request as never as Sessions).session).sort())
  await app.ready()
}

t.test('session with a Map for a store: its lost update is reported, and the fix is silent', async (t) => {
  for (const isLocked of [false, true]) {
    let kept: unknown
    const reports = await racesOf(async (app) => {
      await shop(app, isLocked)
      const { headers } = await app.inject('/login')
      const requests = ['/cart', '/theme'].map((url) => ({ url, headers: { cookie: String(headers['set-cookie']).split(';')[0] ?? '' } }))
      await Promise.all(requests.map(async (request) => app.inject(request)))
      kept = (await app.inject({ ...requests[0], url: '/' })).json()
    }, [])
    t.strictSame((kept as string[]).filter((key) => key !== 'cookie'), isLocked ? ['cart', 'theme', 'user'] : ['theme', 'user'], isLocked ? 'fix' : 'bug')
    t.strictSame([...new Set(confirmed(reports).map((report) => report.replace(/".*"/, 'id')))], isLocked ? [] : ['stale write on sessions.get(id)'])
  }
})
