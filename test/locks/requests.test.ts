// Locks in requests: clients that leave, refusals that are answered, and a shutdown.
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import lifecycle from '../../plugins/lifecycle/index.ts'
import locks from '../../plugins/locks/index.ts'
import { drainablesOf } from '../../plugins/shared/drainables.ts'
import { deferred, logLines, rejection, until } from '../helper.ts'
import { startLocks } from './helper.ts'

/** Sends a POST with a body, over a socket that the caller ends. */
async function post (app: FastifyInstance): Promise<{ leave: () => void }> {
  const { port } = app.server.address() as AddressInfo
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}')
  return { leave: () => socket.destroy() }
}

t.test('a waiter leaves when its client does; a holder whose client leaves keeps the lock until it is done', async (t) => {
  const app = await startLocks(t)
  const gate = deferred()
  const errors: string[] = []
  let held = 0
  app.post('/', async () => app.locks.mutex('a').runExclusive(async () => {
    held++
    await gate.promise
  }).catch((error: { code: string }) => { errors.push(error.code) }))
  await app.listen({ port: 0, host: '127.0.0.1' })
  const holder = await post(app)
  await until(() => held === 1, 'the first holds the lock')
  const waiter = await post(app)
  await until(() => app.locks.stats().waiting === 1, 'the second waits')
  waiter.leave()
  await until(() => app.locks.stats().waiting === 0, 'the second has left')
  t.strictSame(errors, ['FC_ERR_LOCK_ABORTED'])
  holder.leave()
  const third = app.locks.mutex('a').acquire()
  t.strictSame(app.locks.stats(), { locks: 1, holding: 1, waiting: 1 })
  gate.resolve()
  ;(await third).release()
})

t.test('a refusal is answered with 503 and Retry-After, and is not logged as an error', async (t) => {
  const { lines, logger } = logLines()
  const app = await startLocks(t, { maxWaiting: 0 }, { logger })
  app.get('/', async () => app.locks.mutex('secret-key').runExclusive(() => 'ok'))
  const held = await app.locks.mutex('secret-key').acquire()
  const response = await app.inject('/')
  held.release()
  t.equal(response.statusCode, 503)
  t.equal(response.headers['retry-after'], '1')
  t.notMatch(response.body, /secret-key/, 'clients don\'t see keys')
  t.strictSame(lines.filter(({ level }) => level >= 50), [])
  t.equal((await app.inject('/')).body, 'ok')
})

t.test('in a shutdown, requests in flight still get their locks; then whoever asks is refused', async (t) => {
  const app = Fastify() as unknown as FastifyInstance
  t.teardown(async () => app.close())
  await app.register(lifecycle, { delay: 0, timeout: 5_000 })
  await app.register(locks)
  const started = deferred()
  const gate = deferred()
  app.get('/', async () => {
    started.resolve()
    await gate.promise
    return app.locks.mutex('a').runExclusive(() => 'done')
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const answer = fetch(`http://127.0.0.1:${port}/`).then(async (response) => response.text())
  await started.promise
  const down = app.lifecycle.shutdown()
  await until(() => app.lifecycle.phase === 'requests', 'the shutdown waits for the request')
  gate.resolve()
  t.equal(await answer, 'done')
  t.strictSame((await down).unfinished, [])
  t.match(await rejection(app.locks.mutex('a').acquire()), { code: 'FC_ERR_CLOSING' })
})

t.test('past the deadline, waiters are refused and holders are named', async (t) => {
  const app = Fastify() as unknown as FastifyInstance
  t.teardown(async () => app.close())
  await app.register(lifecycle, { delay: 0, timeout: 50, grace: 10 })
  await app.register(locks)
  const held = await app.locks.mutex('forgotten').acquire()
  const waiting = new Promise((resolve, reject) => setImmediate(() => { app.locks.semaphore('other', 1).acquire().then(resolve, reject) }))
  await waiting
  const blocked = rejection(app.locks.semaphore('other', 1).acquire())
  t.match(await app.lifecycle.shutdown(), { unfinished: [{ kind: 'lock', name: 'mutex', id: 'forgotten' }, { kind: 'lock', name: 'semaphore', id: 'other' }] })
  t.match(await blocked, { code: 'FC_ERR_CLOSING' })
  held.release()
})

t.test('without lifecycle, closing waits for holders until closeTimeout', async (t) => {
  const { lines, logger } = logLines()
  const app = Fastify({ logger }) as unknown as FastifyInstance
  await app.register(locks, { closeTimeout: 10 })
  const held = await app.locks.mutex('forgotten').acquire()
  await app.close()
  t.match(lines.find(({ msg }) => msg.startsWith('closing gave up 1 locks')), { unfinished: [{ kind: 'lock', id: 'forgotten' }] })
  held.release()
  t.strictSame([...drainablesOf(app)].map(({ pending }) => pending), [0])
})
