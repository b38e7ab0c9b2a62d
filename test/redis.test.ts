// The suite's `redis`: who opens it, and what its errors say.
import { execFile } from 'node:child_process'
import { createServer, type AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import concurrency, { type ConcurrencyOptions } from '../plugins/index.ts'
import { defineTasks } from '../plugins/tasks/index.ts'
import { execArgv, rejection } from './helper.ts'

t.test('a mistyped URL is refused without its text, which may hold a password', async (t) => {
  for (const redis of ['redsi://user:secret@host', 'redis//user:secret@host', 'redis:/user:secret@host', ':secret@host:6379', 'redis://user:secret@host:port', 'http://user:secret@host']) {
    const app = Fastify() as unknown as FastifyInstance
    const error = await rejection((async () => app.register(concurrency, { redis }))()) as Error
    t.match(error, { code: 'FC_ERR_OPTION_INVALID', message: /concurrency\.redis.*redis:\/\// }, redis)
    t.notMatch(error.message + String(error.stack), /secret/)
    await app.close().catch(() => {})
  }
})

t.test('what is given under a misspelt option, or in place of a client, is refused without its text', async (t) => {
  const url = 'redis://user:secret@host'
  const policies = { client: { rate: 1, burst: 1 } }
  const options: object[] = [
    { reddis: url }, { reddis: 'secret' }, { reddis: { password: 'secret' } }, { limiter: { policies, reddis: url } }, { limiter: { policies, redis: url } },
    { limiter: { policies, redis: { password: 'secret' } } }, { tasks: { rediss: { url } } }, { tasks: { redis: { password: 'secret' }, tasks: defineTasks({ mail: { handler () {} } }) } }
  ]
  for (const each of options) {
    const app = Fastify() as unknown as FastifyInstance
    const error = await rejection((async () => app.register(concurrency, each))()) as Error
    t.match(error, { code: 'FC_ERR_OPTION_INVALID' })
    t.notMatch(error.message + String(error.stack), /secret/)
    await app.close().catch(() => {})
  }
})

t.test('it is opened only if limits or named tasks use it', async (t) => {
  let connections = 0
  const server = createServer((socket) => {
    connections++
    socket.destroy()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const redis = `redis://127.0.0.1:${(server.address() as AddressInfo).port}`
  const isOpened = async (options: ConcurrencyOptions): Promise<boolean> => {
    connections = 0
    const app = Fastify() as unknown as FastifyInstance
    await app.register(concurrency, { redis, ...options })
    await app.ready()
    await app.close()
    return connections > 0
  }
  t.equal(await isOpened({}), false)
  t.equal(await isOpened({ limiter: false, tasks: { tasks: {} } }), false)
  t.equal(await isOpened({ limiter: { policies: { a: { rate: 1, burst: 1 } } } }), true)
  t.equal(await isOpened({ tasks: { tasks: defineTasks({ mail: { handler () {} } }) } }), true)
})

t.test('while Redis is away, the process ends with its shutdown, and not two seconds later', async (t) => {
  const closed = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => { closed.once('listening', resolve) })
  const { port } = closed.address() as AddressInfo
  await new Promise((resolve) => { closed.close(resolve) })
  const fixture = fileURLToPath(new URL('fixtures/redis-away.ts', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, [...execArgv, fixture, `redis://127.0.0.1:${port}`])
  const outlived = Number(stdout)
  t.ok(outlived < 1_000, `the process outlived its shutdown by ${outlived} ms`)
})
