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

t.test('an initialisation that needs itself is refused; results are bounded', async (t) => {
  const { locks } = await startLocks(t, { maxOnce: 2 })
  t.match(await rejection(locks.once('a', async () => locks.once('a', () => 1))), { code: 'FC_ERR_LOCK_REENTERED' })
  await locks.once('a', () => 1)
  await locks.once('b', () => 2)
  t.match(await rejection(locks.once('c', () => 3)), { code: 'FC_ERR_LOCK_QUEUE_FULL', limit: 2 })
  t.equal(await locks.once('a', () => 0), 1)
  locks.forget('b')
  t.equal(await locks.once('c', () => 3), 3)
  await t.rejects(locks.once('d', 5 as never), { code: 'FC_ERR_OPTION_INVALID' })
  t.throws(() => locks.forget(5 as never), { code: 'FC_ERR_OPTION_INVALID' })
})
