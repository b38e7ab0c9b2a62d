// What callers may pass to app.limiter by mistake, or from a client: each call rejects with a coded error, which says
// what came.
import Fastify from 'fastify'
import t from 'tap'
import limiter from '../../plugins/limiter/index.ts'

function revoked<T extends object> (target: T): T {
  const { proxy, revoke } = Proxy.revocable(target, {})
  revoke()
  return proxy
}

const fail = (): never => { throw new RangeError('mine') }

/** Values that are no policy, key, cost, time, signal, number or options, and fail in most that is done with them. */
const hostile = {
  'a revoked Proxy': revoked({}),
  'a revoked Proxy of a function': revoked(() => {}),
  'a Proxy whose traps throw': new Proxy({}, { get: fail, has: fail, getPrototypeOf: fail, ownKeys: fail }),
  'a Proxy whose properties throw': new Proxy({}, { get: fail }),
  'a symbol': Symbol('mine'),
  'an object that is no text': { toString: fail, valueOf: fail, [Symbol.toPrimitive]: fail },
  'an object whose inspection throws': { [Symbol.for('nodejs.util.inspect.custom')]: fail },
  'an object whose name throws': { get [Symbol.toStringTag] () { return fail() } },
  'an object of the prototype of signals': Object.create(AbortSignal.prototype) as object,
  'a class that is no text': class { static toString (): string { return fail() } },
  'a huge bigint': 10n ** 100_000n
}

type Call = (...args: unknown[]) => Promise<unknown>

t.test('hostile arguments are refused with a code, the option, what was expected and what came', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(limiter, {
    policies: {
      one: { rate: 1, burst: 5, routes: 'named' },
      client: { rate: 1, burst: 5, key: 'address', routes: 'named' },
      db: { concurrency: 1 }
    }
  })
  await app.ready()
  const { allow, reserve, wait, peek, run } = app.limiter as unknown as Record<keyof typeof app.limiter, Call>
  const work = (): number => 1
  const aborted = AbortSignal.abort()
  const calls: Record<string, (value: unknown) => Promise<unknown>> = {
    'allow policy': (value) => allow(value),
    'reserve policy': (value) => reserve(value),
    'wait policy': (value) => wait(value),
    'wait, aborted, policy': (value) => wait(value, 'key', { signal: aborted }),
    'peek policy': (value) => peek(value),
    'run policy': (value) => run(value, work),
    'allow key': (value) => allow('one', value),
    'reserve key': (value) => reserve('one', value),
    'wait key': (value) => wait('one', value),
    'peek key': (value) => peek('one', value),
    'allow address key': (value) => allow('client', value),
    'run key': (value) => run('db', work, { key: value }),
    'allow cost': (value) => allow('one', 'key', value),
    'reserve cost': (value) => reserve('one', 'key', { cost: value }),
    'reserve maxWait': (value) => reserve('one', 'key', { maxWait: value }),
    'reserve options': (value) => reserve('one', 'key', value),
    'wait cost': (value) => wait('one', 'key', { cost: value }),
    'wait signal': (value) => wait('one', 'key', { signal: value }),
    'wait timeout': (value) => wait('one', 'key', { timeout: value }),
    'wait maxWaiting': (value) => wait('one', 'key', { maxWaiting: value }),
    'wait detached': (value) => wait('one', 'key', { detached: value }),
    'wait options': (value) => wait('one', 'key', value),
    'run options': (value) => run('db', work, value),
    'run signal': (value) => run('db', work, { signal: value }),
    'run detached': (value) => run('db', work, { detached: value })
  }
  /** These have no options, so that they stand for the defaults. */
  const areOptions = new Set([
    'an object that is no text', 'an object whose inspection throws', 'an object whose name throws',
    'an object of the prototype of signals'
  ])
  for (const [call, make] of Object.entries(calls)) {
    const what = call.split(' ').at(-1) as string
    for (const [name, value] of Object.entries(hostile)) {
      if (what === 'options' && areOptions.has(name)) continue
      // A key may be a bigint.
      if (what === 'key' && call !== 'run key' && name === 'a huge bigint') continue
      const made = `${call}: ${name}`
      const error = await make(value).then(() => t.fail(`${made} was granted`), (error: unknown) => error)
      const expected = what === 'policy'
        ? { code: 'FC_ERR_LIMIT_UNKNOWN', message: /^There is no policy named "./ }
        : { code: /^FC_ERR_(LIMIT|OPTION)_INVALID$/, message: new RegExp(`${what}.* expected .+, received .`) }
      t.match(error, expected, made)
    }
  }
  const left = [await app.limiter.peek('one', 'key'), await app.limiter.peek('one')]
  t.match(left, [{ tokens: 5 }, { tokens: 5 }], 'nothing was taken')
})

t.test('a policy with concurrency refuses what is no key: each request would have a bound of its own', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  let key: unknown
  await app.register(limiter, { policies: { tenant: { concurrency: 1, key: () => key as string } } })
  app.get('/', async () => 'ok')
  for (key of ['a', 7]) t.equal((await app.inject('/')).statusCode, 200)
  for (key of [NaN, Promise.resolve('a'), {}, revoked({})]) {
    const { statusCode, json } = await app.inject('/')
    t.equal(statusCode, 500)
    const message = /"tenant" was given an invalid key: expected a string or a number, received ./
    t.match(json(), { code: 'FC_ERR_LIMIT_INVALID', message })
  }
})
