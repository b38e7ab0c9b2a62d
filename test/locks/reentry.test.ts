// Code that asks for a lock that it holds would wait for itself: it is refused at once. Nobody else is.
import t from 'tap'
import { startLocks, turn } from './helper.ts'
import { deferred } from '../helper.ts'
import tasks from '../../plugins/tasks/index.ts'

const reentered = { code: 'FC_ERR_LOCK_REENTERED', statusCode: 500, message: /^A [a-z]+ is held by the code that asks for it/, key: 'a' }

t.test('a mutex within itself, however deep and in whichever style', async (t) => {
  const { locks } = await startLocks(t)
  const mutex = locks.mutex('a')
  await mutex.runExclusive(async () => {
    await t.rejects(mutex.runExclusive(() => {}), reentered)
    await turn()
    await t.rejects(mutex.acquire(), reentered)
    await locks.mutex('b').runExclusive(async () => t.rejects(mutex.acquire(), reentered))
  })
  {
    await using lock = await mutex.acquire()
    t.ok(lock)
    await t.rejects(mutex.runExclusive(() => {}), reentered)
    await turn()
    await t.rejects(mutex.acquire(), reentered)
  }
  await mutex.runExclusive(() => {})
})

t.test('a rwlock: also a reader that wants to write, which would wait for itself to have read', async (t) => {
  const { locks } = await startLocks(t)
  const lock = locks.rwlock('a')
  await lock.runShared(async () => t.rejects(lock.runExclusive(() => {}), reentered))
  await lock.runExclusive(async () => t.rejects(lock.runShared(() => {}), reentered))
})

t.test('others wait: those that begin in the same turn, those of other requests, and who took several permits of a semaphore', async (t) => {
  const app = await startLocks(t)
  const mutex = app.locks.mutex('a')
  let served = 0
  await Promise.all([1, 2, 3].map(async () => {
    await using lock = await mutex.acquire()
    await turn()
    served += lock.key.length
  }))
  t.equal(served, 3)
  const entered = deferred()
  const gate = deferred()
  app.get('/', async () => {
    await using lock = await mutex.acquire()
    entered.resolve()
    await gate.promise
    return lock.key
  })
  const first = app.inject('/')
  await entered.promise
  const second = app.inject('/')
  gate.resolve()
  t.strictSame((await Promise.all([first, second])).map(({ body }) => body), ['a', 'a'])
  const semaphore = app.locks.semaphore('s', 2)
  await semaphore.run(async () => semaphore.run(() => {}))
})

t.test('a task that is submitted under a lock waits for it', async (t) => {
  const app = await startLocks(t)
  await app.register(tasks)
  const mutex = app.locks.mutex('a')
  app.get('/', async () => mutex.runExclusive(async () => {
    const task = app.tasks.submit('later', async () => mutex.runExclusive(() => 'served'))
    await turn()
    return { task: task.done }
  }).then(async ({ task }) => task))
  t.equal((await app.inject('/')).body, 'served')
})
