// Applications with one official plugin each, and with one planted race of their own, under overlapping requests.
// Usage: RACE=1 node … official.ts <folder with copies of the plugins> <plugin> …
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import Fastify, { type FastifyInstance, type FastifyPluginAsync, type InjectOptions } from 'fastify'
import { hammer } from '../../src/hammer.ts'

const [folder = '', ...names] = process.argv.slice(2)
const require = createRequire(import.meta.url)
const add = async (app: FastifyInstance, name: string, options: object = {}): Promise<void> => { await app.register(require(join(folder, name)) as FastifyPluginAsync<object>, options) }

interface Setup {
  register (app: FastifyInstance): Promise<void>
  /** What is sent before, one after the other. */
  before?: (app: FastifyInstance) => Promise<void>
  request (index: number): string | InjectOptions
}

const secret = 'a secret of at least thirty-two characters'
const sessions: string[] = []

const setups: Record<string, Setup> = {
  cookie: {
    async register (app) {
      await add(app, 'cookie', { secret })
      app.get('/', async (request, reply) => {
        const { seen } = (request as never as { cookies: { seen?: string } }).cookies
        await turn()
        return (reply as never as { setCookie: (name: string, value: string, options: object) => typeof reply }).setCookie('seen', String(Number(seen ?? 0) + 1), { signed: true }).send({ seen })
      })
    },
    request: (index) => ({ url: '/', headers: { cookie: `seen=${index}; other=1` } })
  },
  session: {
    async register (app) {
      const sessionOf = (request: object): { user?: string } => (request as { session: { user?: string } }).session
      await add(app, 'cookie')
      await add(app, 'session', { secret, cookie: { secure: false }, rolling: false })
      app.get('/login', async (request) => { sessionOf(request).user = request.id })
      app.get('/', async (request) => {
        const { user } = sessionOf(request)
        await turn()
        return user
      })
    },
    async before (app) {
      for (let user = 0; user < 5; user++) sessions.push(String((await app.inject('/login')).headers['set-cookie']).split(';')[0] ?? '')
    },
    request: (index) => index % 5 === 4 ? '/login' : { url: '/', headers: { cookie: sessions[index % sessions.length] ?? '' } }
  },
  cors: {
    async register (app) {
      await add(app, 'cors', { origin: ['https://a.example', /b\.example$/], credentials: true, methods: ['GET', 'PUT'] })
      app.get('/', async () => turn('ok'))
    },
    request: (index) => ({ method: index % 2 === 0 ? 'OPTIONS' : 'GET', url: '/', headers: { origin: index % 3 === 0 ? 'https://a.example' : 'https://x.b.example', 'access-control-request-method': 'PUT' } })
  },
  helmet: {
    async register (app) {
      await add(app, 'helmet', { enableCSPNonces: true })
      app.get('/', async (_request, reply) => turn((reply as never as { cspNonce: object }).cspNonce))
    },
    request: () => '/'
  },
  etag: {
    async register (app) {
      await add(app, 'etag')
      app.get('/:page', async (request) => turn({ page: (request.params as { page: string }).page }))
    },
    request: (index) => ({ url: `/${index % 3}`, headers: index % 2 === 0 ? { 'if-none-match': '"x"' } : {} })
  },
  caching: {
    async register (app) {
      await add(app, 'caching', { privacy: 'public', expiresIn: 60 })
      app.get('/:page', async (request, reply) => {
        await turn()
        return (reply as never as { etag: (value: string) => typeof reply }).etag((request.params as { page: string }).page).send('text')
      })
    },
    request: (index) => ({ url: `/${index % 3}`, headers: index % 2 === 0 ? { 'if-none-match': String(index % 3) } : {} })
  },
  'rate-limit': {
    async register (app) {
      await add(app, 'rate-limit', { max: 30, timeWindow: 10_000 })
      app.get('/', async () => turn('ok'))
    },
    request: (index) => ({ url: '/', remoteAddress: `10.0.0.${index % 4}` })
  }
}

let planted = 0

for (const name of names) {
  const setup = setups[name]
  if (setup === undefined) throw new Error(`Expected some of ${Object.keys(setups).join(', ')}, got ${name}`)
  const app = Fastify() as unknown as FastifyInstance
  await setup.register(app)
  app.get('/planted', async () => {
    const before = planted
    await turn()
    planted = before + 1
    return 'planted'
  })
  await setup.before?.(app)
  const responses = await hammer(app, (index) => index % 20 >= 18 ? '/planted' : setup.request(index), { times: 200, concurrency: 10 })
  console.log(`${responses.filter(({ statusCode }) => statusCode < 500).length} of ${responses.length}`)
  await app.close()
}
