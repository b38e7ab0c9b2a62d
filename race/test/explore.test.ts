// explore(): orders that chance doesn't bring about, the same for the same seed, and everything put back.
import assert from 'node:assert/strict'
import fs, { readFile, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { explore, shared } from '../src/index.ts'
import { tryOrder, type OrderOptions } from '../src/explore/explore.ts'
import { rejection } from '../../test/helper.ts'

/** Keeps what is printed out of the test's output. */
function muted (t: Test): string[] {
  const lines: string[] = []
  const { write } = process.stderr
  process.stderr.write = ((text: string) => { lines.push(text); return true }) as never
  t.teardown(() => { process.stderr.write = write })
  return lines
}

/** What an exploration patches. */
const patched = () => [globalThis.setTimeout, globalThis.setInterval, globalThis.setImmediate, globalThis.clearTimeout, globalThis.fetch, fs.readFile, readFile, sleep, promisify(setTimeout)]

/** As it was before the first exploration. */
const untouched = patched()

/** Transfers between two accounts, of which one order of four lets money appear: detected by the invariant alone. */
function bank (): FastifyInstance {
  const app = Fastify() as unknown as FastifyInstance
  const account = { balance: 100 }
  app.decorate('account', { getter: () => account })
  app.get('/withdraw', async (_request, reply) => {
    await sleep(5)
    if (account.balance < 80) return reply.code(409).send()
    await sleep(5)
    account.balance -= 80
    return 'paid'
  })
  return app
}

const solvent = (app: FastifyInstance): void => assert.ok(app.getDecorator<{ balance: number }>('account').balance >= 0, 'the account is overdrawn')

t.test('the invariant fails for some order: the error has the seed, and what was printed the order', async (t) => {
  const lines = muted(t)
  const error = await rejection(explore(bank, { requests: ['/withdraw', '/withdraw'], invariant: solvent }))
  t.match(error, { code: 'FC_ERR_EXPLORE', message: /^With seed \d+: the account is overdrawn/, cause: { code: 'ERR_ASSERTION' } })
  t.match(lines.join(''), /RACE: seed \d+ of explore\(\) failed: the account is overdrawn[^]* 1\. request \d arrives: GET \/withdraw[^]*request \d GET \/withdraw: sleep 5 ms[^]*again: RACE_SEED=\d+, which each explore\(\) of a process takes/)
})

t.test('the detector fails an order if the invariant doesn\'t', async (t) => {
  muted(t)
  const error = await rejection(explore(() => {
    const app = Fastify() as unknown as FastifyInstance
    const state = shared({ sum: 0 }, 'state')
    app.get('/', async () => {
      const { sum } = state
      await sleep(1)
      state.sum = sum + 1
    })
    return app
  }, { requests: ['/', '/'] }))
  t.match(error, { code: 'FC_ERR_EXPLORE', message: /WARNING: RACE lost update on state\.sum/ })
})

t.test('an app that is right passes all seeds, of which many differ', async (t) => {
  const explored = await explore(() => {
    const app = Fastify() as unknown as FastifyInstance
    const state = shared({ sum: 0 }, 'state')
    app.get('/', async () => {
      await sleep(1)
      state.sum++
      await sleep(1)
      return state.sum
    })
    return app
  }, { requests: ['/', '/', { url: '/', method: 'GET' }], seeds: 50, invariant: (_app, responses) => t.strictSame(responses.map(({ statusCode }) => statusCode), [200, 200, 200]) })
  t.equal(explored.seeds, 50)
  t.ok(explored.orders > 20, `${explored.orders} orders`)
})

t.test('a seed gives the same order, with files and timers, each time', async (t) => {
  const file = join(t.testdir(), 'data.json')
  const build = async (): Promise<FastifyInstance> => {
    await writeFile(file, '0')
    const app = Fastify() as unknown as FastifyInstance
    app.get('/', async () => {
      const count = Number(await readFile(file, 'utf8'))
      await sleep(3)
      await new Promise((resolve) => setImmediate(resolve))
      await writeFile(file, String(count + 1))
    })
    return app
  }
  const options: OrderOptions = { requests: ['/', '/', '/'], operations: [], invariant: () => {} }
  for (const seed of [3, 4]) {
    const first = await tryOrder(build, options, seed)
    t.match(first.order.join('\n'), /fs\.readFile[^]*sleep 3 ms[^]*setImmediate[^]*fs\.writeFile/)
    for (let again = 0; again < 25; again++) t.strictSame((await tryOrder(build, options, seed)).order, first.order)
  }
})

t.test('methods of decorators that are named as operations wait too, with what they call, and are put back', async (t) => {
  const file = join(t.testdir(), 'rows.json')
  class Client {
    #queries = 0
    async query (): Promise<number> {
      await readFile(file, 'utf8')
      return ++this.#queries
    }
  }
  const { query } = Client.prototype
  const db = new Client()
  const build = async (): Promise<FastifyInstance> => {
    await writeFile(file, '1')
    const app = Fastify() as unknown as FastifyInstance
    app.decorate('db', db).decorate('load', async () => 5)
    app.get('/', async () => [await app.getDecorator<Client>('db').query(), await app.getDecorator<() => Promise<number>>('load')()])
    return app
  }
  const { order, failure } = await tryOrder(build, { requests: ['/', '/'], operations: ['db.query', 'load'], invariant: (_app, responses) => t.strictSame(responses.map(({ statusCode }) => statusCode), [200, 200]) }, 1)
  t.equal(failure, undefined)
  t.match(order.join('\n'), /db\.query[^]*fs\.readFile[^]*load/)
  t.equal(db.query, query)
  t.notOk(Object.hasOwn(db, 'query'))
  for (const path of ['db.find', 'cache.get', 'db']) await t.rejects(explore(build, { requests: ['/'], operations: [path] }), { code: 'FC_ERR_OPTION_INVALID', message: /explore\.operations/ }, path)
})

t.test('what a CommonJS module takes out of a built-in is patched, if build() loads the module', async (t) => {
  const file = join(t.testdir(), 'app.cjs')
  await writeFile(file, 'const { setTimeout: sleep } = require(\'node:timers/promises\')\nexports.wait = () => sleep(3)\n')
  const { order } = await tryOrder(() => {
    const { wait } = createRequire(import.meta.url)(file) as { wait: () => Promise<void> }
    const app = Fastify() as unknown as FastifyInstance
    app.get('/', wait)
    return app
  }, { requests: ['/'], operations: [], invariant: () => {} }, 1)
  t.match(order, [/arrives/, /sleep 3 ms/])
})

t.test('RACE_SEED tries one seed only', async (t) => {
  muted(t)
  const found = /seed (\d+)/.exec((await rejection(explore(bank, { requests: ['/withdraw', '/withdraw'], invariant: solvent }))).message)?.[1]
  process.env['RACE_SEED'] = found
  t.teardown(() => { delete process.env['RACE_SEED'] })
  t.match(await rejection(explore(bank, { requests: ['/withdraw', '/withdraw'], invariant: solvent })), { message: new RegExp(`^With seed ${found}: `) })
  process.env['RACE_SEED'] = 'x'
  await t.rejects(explore(bank, { requests: ['/withdraw'] }), { code: 'FC_ERR_OPTION_INVALID', message: /RACE_SEED/ })
})

t.test('everything is put back, also if the build, a request or the invariant throws', async (t) => {
  muted(t)
  const before = untouched
  await rejection(explore(() => { throw new Error('no app') }, { requests: ['/'] }))
  t.strictSame(patched(), before)
  await rejection(explore(bank, { requests: ['/withdraw'], invariant: () => { throw new Error('never') } }))
  t.strictSame(patched(), before)
  t.match(await rejection(explore(bank, { requests: ['/withdraw'], seeds: 1, invariant: () => { throw undefined } })), { code: 'FC_ERR_EXPLORE' }) // eslint-disable-line no-throw-literal -- an invariant may throw anything
  await explore(() => {
    const app = Fastify() as unknown as FastifyInstance
    app.get('/', async () => { throw new Error('in a request') })
    return app
  }, { requests: ['/'], seeds: 1, invariant: (_app, [response]) => t.equal(response?.statusCode, 500) })
  t.strictSame(patched(), before)
})

t.test('an app that never falls quiet, and one that waits for nothing, are reported within seconds', async (t) => {
  muted(t)
  const began = performance.now()
  const busy = (): FastifyInstance => {
    const app = Fastify() as unknown as FastifyInstance
    app.get('/', async () => {
      const again = (): void => { setTimeout(again, 1) }
      again()
    })
    return app
  }
  t.match(await rejection(explore(busy, { requests: ['/'] })), { message: /did not fall quiet.*not started: .*setTimeout 1 ms/ })
  const stuck = (): FastifyInstance => {
    const app = Fastify() as unknown as FastifyInstance
    app.get('/', async () => new Promise(() => {}))
    return app
  }
  t.match(await rejection(explore(stuck, { requests: ['/'] })), { message: /a request does not end/ })
  t.ok(performance.now() - began < 40_000)
})

t.test('a timer that is leaked never fires, a long one fires only when nothing else is left, a cleared one not at all', async (t) => {
  const fired: string[] = []
  await explore(() => {
    const app = Fastify() as unknown as FastifyInstance
    app.get('/', async () => {
      setInterval(() => fired.push('interval'), 1)
      clearTimeout(setTimeout(() => fired.push('never'), 1))
      const timer = setTimeout(() => fired.push('cleared'), 1)
      setTimeout(() => fired.push('long'), 60_000)
      await sleep(5)
      await sleep(5)
      clearTimeout(timer)
      fired.push('answered')
    })
    return app
  }, { requests: ['/'], seeds: 1 })
  t.ok(!fired.includes('interval'))
  t.ok(!fired.includes('never'))
  t.equal(fired.at(-1), 'long')
})

t.test('what is invalid is refused by name', async (t) => {
  for (const [options, name] of [[{ requests: [] }, 'requests'], [{ requests: ['/', null] }, 'requests\\[1\\]'], [{ requests: [''] }, 'requests\\[0\\]'], [{ requests: [1] }, 'requests\\[0\\]'], [{}, 'requests'], [{ requests: ['/'], seeds: 0 }, 'seeds'], [{ requests: ['/'], invariant: 5 }, 'invariant'], [{ requests: ['/'], operations: 'db' }, 'operations'], [{ requests: ['/'], operations: [''] }, 'operations'], [{ requests: ['/'], seed: 5 }, 'seed']] as const) {
    await t.rejects(explore(bank, options as never), { code: 'FC_ERR_OPTION_INVALID', message: new RegExp(`explore\\.${name}`) })
  }
  await t.rejects(explore(5 as never, { requests: ['/'] }), { code: 'FC_ERR_OPTION_INVALID' })
})

t.test('a request that inject() refuses fails the run', async (t) => {
  muted(t)
  const app = bank()
  t.match(await rejection(explore(() => app, { requests: ['/withdraw', '/withdraw'], seeds: 2, invariant: () => {} })), { code: 'FC_ERR_EXPLORE', message: /already been closed/ })
  t.match(await rejection(explore(bank, { requests: [{ method: 'GET' }], seeds: 1 })), { code: 'FC_ERR_EXPLORE' })
})
