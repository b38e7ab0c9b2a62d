// Places of reserve() that nobody uses and nobody gives back.
import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import tasks, { type TasksOptions } from '../../plugins/tasks/index.ts'
import { endOf } from '../../plugins/cancellation/request-end.ts'
import { assertIdle } from '../../plugins/testing.ts'
import { deferred, until } from '../helper.ts'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

async function build (t: Test, options: TasksOptions): Promise<FastifyInstance> {
  const app = Fastify() as unknown as FastifyInstance
  t.teardown(async () => {
    await app.close()
    await assertIdle(app)
  })
  await app.register(tasks, options)
  return app
}

t.test('places that failed handlers forget are given back when their requests have been answered', async (t) => {
  const app = await build(t, { concurrency: 1, maxQueue: 1 })
  app.get('/', async () => {
    app.tasks.reserve()
    throw new Error('forgot its place')
  })
  for (let i = 0; i < 5; i++) t.equal((await app.inject('/')).statusCode, 500)
  await until(() => app.tasks.stats().reserved === 0, 'all are given back')
  await app.listen({ port: 0, host: '127.0.0.1' })
  const url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
  for (let i = 0; i < 5; i++) t.equal((await fetch(url)).status, 500)
  await until(() => app.tasks.stats().reserved === 0, 'all are given back')
})

t.test('a place that is used or released leaves nothing on its request, and one that was given back says so', async (t) => {
  const app = await build(t, {})
  let followers: number | undefined
  const late = deferred<unknown>()
  app.get('/', async (request, reply) => {
    for (let i = 0; i < 3; i++) {
      using used = app.tasks.reserve()
      await used.submit(`task:${i}`, () => {}).done
      app.tasks.reserve().release()
    }
    followers = endOf(request).followers
    const kept = app.tasks.reserve()
    void reply.send('answered')
    await once(reply.raw, 'close')
    try {
      kept.submit('late', () => {})
    } catch (error) {
      late.resolve(error)
    }
  })
  await app.inject('/')
  t.equal(followers, 0)
  t.match(await late.promise, { code: 'FC_ERR_PLACE_USED' })
})

t.test('a handler whose client has left keeps its place; if it forgets it, the place is given back all the same', async (t) => {
  const app = await build(t, { concurrency: 1, maxQueue: 0 })
  let left = deferred()
  const ran = deferred()
  app.get('/:what', async (request) => {
    const { submit } = app.tasks.reserve()
    request.disconnected.addEventListener('abort', () => left.resolve())
    await left.promise
    await turn()
    gc()
    await turn()
    if ((request.params as { what: string }).what === 'forgets') throw new Error('forgot its place')
    submit('task', () => ran.resolve())
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const leave = async (path: string): Promise<void> => {
    const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`)
    await until(() => app.tasks.stats().reserved === 1, 'it is in its handler')
    socket.destroy()
    await left.promise
  }
  await leave('/uses')
  await ran.promise
  await app.tasks.idle()
  left = deferred()
  await leave('/forgets')
  await until(() => {
    gc()
    return app.tasks.stats().reserved === 0
  }, 'it is given back')
})
