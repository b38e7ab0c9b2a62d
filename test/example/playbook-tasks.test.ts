// Each row of the playbook about tasks: what the BAD handler does and the GOOD one doesn't, counted.
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import concurrency from 'fastify-concurrency'
import t, { type Test } from 'tap'
import * as abandoned from '../../example/playbook/abandoned-receiver.ts'
import * as errgroup from '../../example/playbook/errgroup.ts'
import * as shutdown from '../../example/playbook/graceful-shutdown.ts'
import * as raw from '../../example/playbook/raw-promise.ts'
import * as context from '../../example/playbook/request-context-in-background.ts'
import * as retry from '../../example/playbook/retry.ts'
import { deferred, until } from '../helper.ts'

async function suite (t: Test): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(concurrency, { workers: false })
  return app
}

t.test('raw promise in a handler: what a shutdown does to it', async (t) => {
  for (const [kind, finished] of [['bad', false], ['good', true]] as const) {
    const app = await suite(t)
    const go = deferred()
    let sent = false
    await app.register(raw[kind], { send: async () => { await go.promise; sent = true } })
    t.equal((await app.inject({ method: 'POST', url: '/orders' })).statusCode, 202)
    const closing = app.close()
    if (finished) {
      await until(() => app.lifecycle.phase === 'tasks', 'tasks drain')
      go.resolve()
    }
    await closing
    t.equal(sent, finished, kind === 'bad' ? 'BAD: closed before the mail was sent' : 'GOOD: waited for it')
    go.resolve()
  }
})

t.test('the request\'s context in a background task: a client that hangs up too early', async (t) => {
  for (const [kind, aborted] of [['bad', true], ['good', false]] as const) {
    const app = await suite(t)
    const [started, left, go] = [deferred<AbortSignal>(), deferred(), deferred()]
    app.addHook('onSend', async (request) => {
      // The order is written, and before the answer is out the client has gone.
      client.destroy()
      if (!request.disconnected.aborted) await once(request.disconnected, 'abort')
      left.resolve()
    })
    await app.register(context[kind], { send: async (signal) => { started.resolve(signal!); await go.promise } })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const client = httpRequest({ port: (app.server.address() as AddressInfo).port, host: '127.0.0.1', method: 'POST', path: '/orders' })
    client.on('error', () => {})
    client.end()
    const signal = await started.promise
    await left.promise
    t.equal(signal.aborted, aborted, kind === 'bad' ? 'BAD: no mail for an order that exists' : 'GOOD: the mail is sent')
    go.resolve()
    await app.tasks.idle()
  }
})

t.test('retry: how often a service that says 400 is called, and how fast one that says 503', async (t) => {
  for (const kind of ['bad', 'good'] as const) {
    const app = await suite(t)
    const calls: number[] = []
    let statusCode = 400
    await app.register(retry[kind], { call: async () => { calls.push(performance.now()); throw Object.assign(new Error('no'), { statusCode }) } })
    await app.inject({ method: 'POST', url: '/webhooks' })
    await app.tasks.idle()
    t.equal(calls.length, kind === 'bad' ? 10 : 1)

    calls.length = 0
    statusCode = 503
    await app.inject({ method: 'POST', url: '/webhooks' })
    await until(() => calls.length > 0, 'the first call')
    if (kind === 'bad') t.equal(calls.length, 10, 'BAD: all before it has answered')
    else t.ok(calls.length < 10, 'GOOD: later')
  }
})

/** Runs until its signal aborts, and counts how many do. */
function patient (running: Set<object>): (signal?: AbortSignal) => Promise<never> {
  return (signal) => new Promise((_resolve, reject) => {
    const self = {}
    running.add(self)
    signal?.addEventListener('abort', () => {
      running.delete(self)
      reject(signal.reason as Error)
    })
  })
}

t.test('errgroup: what still runs when the answer is an error', async (t) => {
  for (const [kind, left] of [['bad', 2], ['good', 0]] as const) {
    const app = await suite(t)
    const running = new Set<object>()
    await app.register(errgroup[kind], { parts: [patient(running), async () => { await turn(); throw new Error('broken part') }, patient(running)] })
    const answer = await app.inject('/report')
    t.match(answer.json(), { statusCode: 500, message: 'broken part' })
    t.equal(running.size, left, kind.toUpperCase())
  }
})

t.test('abandoned receiver: what still runs when the fastest has answered', async (t) => {
  for (const [kind, left] of [['bad', 2], ['good', 0]] as const) {
    const app = await suite(t)
    const running = new Set<object>()
    await app.register(abandoned[kind], { replicas: [patient(running), async () => ({ price: 7 }), patient(running)] })
    t.same((await app.inject('/quote')).json(), { price: 7 })
    t.equal(running.size, left, kind.toUpperCase())
  }
})

t.test('graceful shutdown: what happened to an order that was accepted', async (t) => {
  for (const kind of ['bad', 'good'] as const) {
    const app = await suite(t)
    const go = deferred()
    const rows: string[] = []
    const errors: string[] = []
    let open = true
    const closed = deferred()
    const database = {
      async write (row: string) {
        if (open) rows.push(row)
        else errors.push('the database is closed')
      },
      close () { open = false; closed.resolve() }
    }
    const { stop } = await shutdown[kind](app, database, () => go.promise)
    t.equal((await app.inject({ method: 'POST', url: '/orders' })).statusCode, 202)
    const stopped = stop()
    // BAD: the database closes while the order is on its way. GOOD: it waits for the order.
    if (kind === 'bad') await closed.promise
    else await until(() => app.lifecycle.phase === 'tasks', 'tasks drain')
    go.resolve()
    await stopped
    t.same({ rows, errors }, kind === 'bad' ? { rows: [], errors: ['the database is closed'] } : { rows: ['order'], errors: [] })
  }
})
