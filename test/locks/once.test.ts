// once(): an initialisation runs once, and everybody has its result.
import t from 'tap'
import { currentRequest } from '../../plugins/cancellation/index.ts'
import { startLocks } from './helper.ts'
import { deferred, rejection, until } from '../helper.ts'

t.test('callers that come while it runs share the run; later ones the result', async (t) => {
  const { locks } = await startLocks(t)
  const loaded = deferred<string>()
  let runs = 0
  const load = async (): Promise<string> => {
    runs++
    return loaded.promise
  }
  const all = [1, 2, 3].map(async () => locks.once('config', load))
  loaded.resolve('it')
  t.strictSame(await Promise.all(all), ['it', 'it', 'it'])
  t.equal(await locks.once('config', load), 'it')
  t.equal(runs, 1)
  locks.forget('config')
  t.equal(await locks.once('config', load), 'it')
  t.equal(runs, 2)
  t.equal(await locks.once('nothing', () => undefined), undefined)
  t.equal(await locks.once('nothing', () => 5 as unknown as undefined), undefined, 'undefined is a result')
})

t.test('a failure is everybody\'s who waited, and isn\'t remembered', async (t) => {
  const { locks } = await startLocks(t)
  const gate = deferred()
  const error = new Error('away')
  const fail = async (): Promise<never> => {
    await gate.promise
    throw error
  }
  const all = [1, 2].map(async () => rejection(locks.once('config', fail)))
  gate.resolve()
  t.strictSame(await Promise.all(all), [error, error])
  t.equal(await rejection(locks.once('config', () => { throw error })), error)
  t.equal(await locks.once('config', () => 5), 5)
  t.equal(await locks.once('config', fail as never), 5)
})

t.test('the first caller may leave: the others have the result all the same', async (t) => {
  const app = await startLocks(t)
  const loaded = deferred<number>()
  const controller = new AbortController()
  let request: unknown = 'not called'
  app.get('/', async () => app.locks.once('config', async () => {
    request = currentRequest()
    return loaded.promise
  }, { signal: controller.signal }).catch((error: { code: string }) => error.code))
  const first = app.inject('/')
  await app.ready()
  await until(() => request !== 'not called', 'it runs')
  t.equal(request, undefined, 'it runs outside any request')
  const second = app.locks.once('config', () => 0)
  controller.abort()
  t.equal((await first).body, 'FC_ERR_LOCK_ABORTED')
  loaded.resolve(5)
  t.equal(await second, 5)
})

t.test('an initialisation that needs itself ends with the timeout, and the next call runs its own function', async (t) => {
  const { locks } = await startLocks(t, { timeout: 20 })
  const inner = deferred<unknown>()
  async function needsItself (): Promise<number> {
    const waits = locks.once('a', () => 1)
    inner.resolve(rejection(waits))
    return await waits
  }
  const timedOut = { code: 'FC_ERR_LOCK_TIMEOUT', kind: 'once', key: 'a', holder: /once\.test/ }
  t.match(await rejection(locks.once('a', needsItself)), timedOut)
  t.match(await inner.promise, timedOut)
  await until(() => locks.stats().locks === 0, 'the initialisation has failed')
  t.equal(await locks.once('a', () => 2), 2)
})

t.test('forget() while it runs: those who wait have its result, and the next call runs its own function, alone', async (t) => {
  const { locks } = await startLocks(t)
  const [gate, later] = [deferred<number>(), deferred<number>()]
  let running = 0
  const load = (loaded: Promise<number>) => async (): Promise<number> => {
    t.equal(++running, 1, 'one runs at a time')
    try {
      return await loaded
    } finally {
      running--
    }
  }
  const first = [locks.once('config', load(gate.promise)), locks.once('config', () => 0)]
  locks.forget('config')
  const second = [locks.once('config', load(later.promise)), locks.once('config', () => 0)]
  gate.resolve(1)
  t.strictSame(await Promise.all(first), [1, 1])
  later.resolve(2)
  t.strictSame(await Promise.all(second), [2, 2])
  t.equal(await locks.once('config', () => 3), 2, 'the second is remembered')
})

t.test('one that was forgotten and then fails takes nothing from the one after it', async (t) => {
  const { locks } = await startLocks(t, { maxOnce: 1 })
  const gate = deferred<number>()
  const error = new Error('too late')
  const first = rejection(locks.once('config', async () => { await gate.promise; throw error }))
  locks.forget('config')
  const second = locks.once('config', () => 2)
  gate.resolve(0)
  t.equal(await first, error)
  t.equal(await second, 2)
  t.equal(await locks.once('config', () => 3), 2, 'the second is remembered')
  t.match(await rejection(locks.once('other', () => 0)), { code: 'FC_ERR_LOCK_QUEUE_FULL' }, 'and takes its place')
})

t.test('one that fails is not remembered, and gives its place back: also one that throws at once', async (t) => {
  const { locks } = await startLocks(t, { maxOnce: 1 })
  const error = new Error('away')
  for (const fail of [() => { throw error }, async () => { throw error }]) {
    t.equal(await rejection(locks.once('a', fail as () => never)), error)
    t.equal(await locks.once('b', () => 1), 1)
    t.equal(await rejection(locks.once('b', () => 1, { timeout: -1 })) instanceof Error, true)
    locks.forget('b')
    locks.forget('never asked for')
  }
  t.equal(await rejection(locks.once('c', async () => Promise.reject(undefined))), undefined, 'undefined is an error')
  t.equal(await locks.once('c', () => 5), 5)
})

t.test('a result that is remembered is there without a wait: after the signal has aborted, and after the locks have closed', async (t) => {
  const app = await startLocks(t)
  await app.locks.once('a', () => 1)
  t.equal(await app.locks.once('a', () => 2, { signal: AbortSignal.abort(), timeout: 0 }), 1)
  await app.close()
  t.equal(await app.locks.once('a', () => 2), 1)
  t.match(await rejection(app.locks.once('b', () => 2)), { code: 'FC_ERR_CLOSING' })
  t.match(await rejection(app.locks.once('b', () => 2)), { code: 'FC_ERR_CLOSING' }, 'what was refused is not remembered')
})

t.test('results are bounded', async (t) => {
  const { locks } = await startLocks(t, { maxOnce: 2 })
  await locks.once('a', () => 1)
  await locks.once('b', () => 2)
  t.match(await rejection(locks.once('c', () => 3)), { code: 'FC_ERR_LOCK_QUEUE_FULL', limit: 2 })
  t.equal(await locks.once('a', () => 0), 1)
  locks.forget('b')
  t.equal(await locks.once('c', () => 3), 3)
  await t.rejects(locks.once('d', 5 as never), { code: 'FC_ERR_OPTION_INVALID' })
  t.throws(() => locks.forget(5 as never), { code: 'FC_ERR_OPTION_INVALID' })
})
