// Each row of the playbook: what the BAD handler does and the GOOD one doesn't, counted.
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import type { Worker } from 'node:worker_threads'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import Fastify, { type FastifyInstance } from 'fastify'
import concurrency from 'fastify-concurrency'
import t, { type Test } from 'tap'
import { jobs } from '../../example/jobs.ts'
import * as context from '../../example/playbook/context-not-passed-on.ts'
import * as cpu from '../../example/playbook/cpu-on-event-loop.ts'
import * as sleep from '../../example/playbook/sleep-for-coordination.ts'
import * as spawning from '../../example/playbook/unbounded-spawning.ts'
import { execArgv } from './helper.ts'

const MAX_THREADS = 2

async function app (t: Test, { bad, good }: typeof cpu, prepare: (app: FastifyInstance) => void = () => {}): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  // A pool on a busy machine would refuse some of it; what is shown here is something else.
  app.register(concurrency, { workers: { jobs, execArgv, maxThreads: MAX_THREADS, maxWait: 60_000, targetWait: 60_000 } })
  prepare(app)
  app.register(bad, { prefix: '/bad' })
  app.register(good, { prefix: '/good' })
  await app.ready()
  return app
}

t.test('CPU on the event loop: how often it turned while one request was handled', async (t) => {
  let turns = 0
  const handled = { from: 0, to: 0 }
  const server = await app(t, cpu, (app) => {
    app.addHook('preHandler', async () => { handled.from = turns })
    app.addHook('onSend', async () => { handled.to = turns })
  })
  let pending: NodeJS.Immediate
  const turn = (): void => {
    turns++
    pending = setImmediate(turn)
  }
  turn()
  t.teardown(() => clearImmediate(pending))
  const post = (url: string) => server.inject({ method: 'POST', url, payload: { password: 'correct horse' } })

  t.equal((await post('/bad/hash')).statusCode, 200)
  t.equal(handled.to - handled.from, 0, 'BAD: never, so nobody else was served')

  t.equal((await post('/good/hash')).statusCode, 200)
  t.ok(handled.to - handled.from > 0, 'GOOD: it went on turning')
})

t.test('unbounded spawning: how many threads twelve requests have started', async (t) => {
  let started = 0
  const exits: Array<Promise<unknown>> = []
  const count = (worker: Worker): void => {
    started++
    exits.push(once(worker, 'exit'))
  }
  process.on('worker', count)
  t.teardown(() => process.off('worker', count))
  const server = await app(t, spawning)
  const post = (url: string) => Promise.all(Array.from({ length: 12 }, () => server.inject({ method: 'POST', url, payload: { password: 'correct horse' } })))
  const codes = (responses: Awaited<ReturnType<typeof post>>) => responses.map(({ statusCode }) => statusCode)

  t.same(codes(await post('/good/hash')).filter((code) => ![200, 503, 504].includes(code)), [], 'served, refused at once, or, on a busy machine, past its deadline')
  t.ok(started <= MAX_THREADS, 'GOOD: no more than the pool has, its start included')

  started = 0
  exits.length = 0
  t.same(codes(await post('/bad/hash')), Array(12).fill(200))
  t.equal(started, 12, 'BAD: one each')
  await Promise.all(exits)
})

t.test('context not passed on: what became of a search whose client has left', async (t) => {
  for (const [kind, expected] of [['bad', { completed: 1, aborted: 0 }], ['good', { completed: 0, aborted: 1 }]] as const) {
    const server = await app(t, context)
    await server.listen({ port: 0 })
    const dispatched = nextMessage(t, 'fastify-concurrency:workers:dispatched')
    const client = connect((server.server.address() as AddressInfo).port)
    // 24 orders of the words: long enough for the server to see the client leave long before the end.
    client.write(`GET /${kind}/search?q=santa+cruz+de+siera HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    await dispatched
    client.destroy()
    await server.workers.idle()
    t.match(server.workers.stats().jobs['search'], expected, kind.toUpperCase())
  }
})

function nextMessage (t: Test, channel: string): Promise<unknown> {
  return new Promise((resolve) => {
    subscribe(channel, resolve)
    t.teardown(() => unsubscribe(channel, resolve))
  })
}

t.test('sleep for coordination: how many of eight hashes were in the answer', async (t) => {
  const server = await app(t, sleep)
  const passwords = Array.from({ length: 8 }, (_, index) => `correct horse ${index}`)
  const post = async (url: string) => (await server.inject({ method: 'POST', url, payload: { passwords } })).json<{ hashes: string[] }>().hashes.length

  t.ok(await post('/bad/hashes') < 8, 'BAD: as many as there was time for')
  await server.workers.idle()
  t.equal(server.workers.stats().jobs['password']?.completed, 8, 'though all of them were made')

  t.equal(await post('/good/hashes'), 8, 'GOOD: all')
})
