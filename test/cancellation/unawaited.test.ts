// Waits and jobs that a handler starts and doesn't await: the end of the request ends them, and harms nothing else.
import Fastify, { type FastifyInstance } from 'fastify'
import { connect, type AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import concurrency from '../../plugins/index.ts'
import { execArgv, logLines, until, type LogLine, type TestWorkers } from '../helper.ts'
import { jobs } from '../fixtures/jobs.ts'

interface Started { app: FastifyInstance, lines: LogLine[], port: number, begun: () => number, waiting: () => number, unhandled: unknown[] }

/** A service each of whose requests starts five waits and awaits none of them. What they wait for never comes. */
async function start (t: Test, answers: boolean): Promise<Started> {
  const { lines, logger } = logLines()
  const app = Fastify({ logger }) as unknown as FastifyInstance
  t.teardown(async () => app.close())
  const unhandled: unknown[] = []
  const onUnhandled = (error: unknown): void => { unhandled.push(error) }
  process.on('unhandledRejection', onUnhandled)
  t.teardown(() => { process.off('unhandledRejection', onUnhandled) })
  await app.register(concurrency, {
    workers: { jobs, maxThreads: 1, execArgv },
    lifecycle: { timeout: 300, grace: 50 },
    limiter: { policies: { slow: { rate: 0.001, burst: 1, routes: 'named' }, one: { concurrency: 1, maxWait: 10_000_000, routes: 'named' } } }
  })
  const { limiter } = app as unknown as { limiter: { wait (name: string, key: string, options?: object): Promise<void>, run (name: string, fn: () => unknown): Promise<unknown> } }
  let begun = 0
  app.get('/', async () => {
    void app.locks.mutex('key').runExclusive(() => {})
    void app.locks.mutex('key').acquire()
    void app.locks.once('key', async () => new Promise(() => {}))
    void limiter.wait('slow', 'key', { timeout: 10_000_000 })
    void limiter.run('one', () => {})
    begun++
    return answers ? 'answered' : await new Promise(() => {})
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.locks.mutex('key').acquire()
  await limiter.wait('slow', 'key')
  void limiter.run('one', async () => new Promise(() => {}))
  return { app, lines, port: (app.server.address() as AddressInfo).port, begun: () => begun, waiting: () => app.locks.stats().waiting, unhandled }
}

t.test('waits that a handler does not await end with its answer, with a line each', async (t) => {
  const { port, lines, waiting, unhandled } = await start(t, true)
  t.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'answered')
  await until(() => waiting() === 0, 'no wait is left')
  await until(() => lines.filter(({ msg }) => /^a wait was ended because its request has been answered/.test(msg)).length === 5, 'five lines')
  t.same(unhandled, [])
})

t.test('waits that a handler does not await end when the client leaves', async (t) => {
  const { port, begun, waiting, unhandled } = await start(t, false)
  const socket = connect(port, '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
  await until(() => begun() === 1, 'the handler runs')
  socket.destroy()
  await until(() => waiting() === 0, 'no wait is left')
  await new Promise((resolve) => setImmediate(resolve))
  t.same(unhandled, [])
})

t.test('waits that a handler does not await end with a shutdown that gives the request up', async (t) => {
  const { app, port, begun, unhandled } = await start(t, false)
  const response = fetch(`http://127.0.0.1:${port}/`).catch(() => {})
  await until(() => begun() === 1, 'the handler runs')
  await app.lifecycle.shutdown()
  await response
  t.same(unhandled, [])
})

t.test('a job that a handler does not await is one line at warn for each name, and then at debug', async (t) => {
  const { lines, logger } = logLines()
  const app = Fastify({ logger }) as unknown as FastifyInstance
  t.teardown(async () => app.close())
  await app.register(concurrency, { workers: { jobs, maxThreads: 1, execArgv } })
  const workers = app.getDecorator<TestWorkers>('workers')
  app.get('/', async () => {
    void workers.run('rest', { ms: 60_000 })
    return 'answered'
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const ofJobs = (): LogLine[] => lines.filter(({ msg }) => /^a job was aborted because its request has been answered/.test(msg))
  for (const count of [1, 2]) {
    t.equal(await (await fetch(url)).text(), 'answered')
    await until(() => ofJobs().length === count, 'its line')
  }
  t.match(ofJobs(), [{ level: 40, job: 'rest', code: 'FC_ERR_REQUEST_ENDED', reqId: String }, { level: 20 }])
})
