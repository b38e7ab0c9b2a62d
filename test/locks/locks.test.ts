// What app.locks promises its callers.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import t from 'tap'
import { startLocks, turn } from './helper.ts'
import { deferred, logLines, rejection, until } from '../helper.ts'

t.test('a mutex: an update from read to write is never lost; the result and the error are those of the function', async (t) => {
  const { locks } = await startLocks(t)
  let count = 0
  await Promise.all(Array.from({ length: 50 }, async () => locks.mutex('count').runExclusive(async () => {
    const read = count
    await turn()
    count = read + 1
  })))
  t.equal(count, 50)
  t.equal(await locks.mutex('count').runExclusive(() => 7), 7)
  const error = new Error('mine')
  t.equal(await rejection(locks.mutex('count').runExclusive(() => { throw error })), error)
  t.equal(await locks.mutex('count').runExclusive(async () => 8), 8, 'a function that throws has released the lock')
})

t.test('first come, first served', async (t) => {
  const { locks } = await startLocks(t)
  const order: number[] = []
  const gate = deferred()
  const all = [0, 1, 2, 3, 4].map(async (index) => locks.mutex('a').runExclusive(async () => {
    if (index === 0) await gate.promise
    order.push(index)
  }))
  gate.resolve()
  await Promise.all(all)
  t.strictSame(order, [0, 1, 2, 3, 4])
})

t.test('keys and kinds are apart', async (t) => {
  const { locks } = await startLocks(t)
  await using a = await locks.mutex('a').acquire()
  await using b = await locks.mutex('b').acquire()
  await using c = await locks.rwlock('a').acquire()
  t.strictSame([a, b, c].map(({ key }) => key), ['a', 'b', 'a'])
  t.strictSame(locks.stats(), { locks: 3, holding: 3, waiting: 0 })
})

t.test('await using releases on every way out; release() twice releases once', async (t) => {
  const { locks } = await startLocks(t)
  const mutex = locks.mutex('a')
  await rejection((async () => {
    await using lock = await mutex.acquire()
    t.equal(lock.key, 'a')
    t.equal(mutex.isLocked, true)
    throw new Error('on the way')
  })())
  t.equal(mutex.isLocked, false)
  {
    using lock = await mutex.acquire()
    t.ok(lock)
  }
  t.equal(mutex.isLocked, false)
  const semaphore = locks.semaphore('s', 2)
  const first = await semaphore.acquire()
  const second = await semaphore.acquire()
  first.release()
  first.release()
  const third = await semaphore.acquire()
  await t.rejects(semaphore.acquire({ timeout: 0 }), { code: 'FC_ERR_LOCK_TIMEOUT' }, 'the second release() gave nothing')
  second.release()
  third.release()
})

t.test('a rwlock: readers share, a writer is alone, and isn\'t starved by readers that keep coming', async (t) => {
  const { locks } = await startLocks(t)
  const lock = locks.rwlock('a')
  let readers = 0
  let mostReaders = 0
  let written = false
  const stop = new AbortController()
  const read = async (): Promise<void> => lock.runShared(async () => {
    mostReaders = Math.max(mostReaders, ++readers)
    await turn()
    readers--
  })
  const loops = [1, 2, 3].map(async () => { while (!stop.signal.aborted) await read() })
  await until(() => mostReaders === 3, 'three readers at a time')
  await lock.runExclusive(async () => {
    t.equal(readers, 0)
    await turn()
    t.equal(readers, 0)
    written = true
  })
  stop.abort()
  await Promise.all(loops)
  t.ok(written)
})

t.test('a semaphore: at most so many at a time, and a key that is held has one number of permits', async (t) => {
  const { locks } = await startLocks(t)
  let running = 0
  let most = 0
  await Promise.all(Array.from({ length: 20 }, async () => locks.semaphore('db', 3).run(async () => {
    most = Math.max(most, ++running)
    await turn()
    running--
  })))
  t.equal(most, 3)
  const held = await locks.semaphore('db', 3).acquire()
  await t.rejects(locks.semaphore('db', 4).acquire(), { code: 'FC_ERR_OPTION_INVALID', message: /permits.*3.*received 4/ })
  held.release()
  const other = await locks.semaphore('db', 4).acquire()
  other.release()
})

t.test('waiters are bounded, for one lock and for all; who is refused leaves no trace', async (t) => {
  const { locks } = await startLocks(t, { maxWaiting: 2, maxWaitingTotal: 3 })
  const a = await locks.semaphore('a', 1).acquire()
  const b = await locks.semaphore('b', 1).acquire()
  const waiting = ['a', 'a', 'b'].map(async (key) => (await locks.semaphore(key, 1).acquire()).release())
  t.match(await rejection(locks.semaphore('a', 1).acquire()), { code: 'FC_ERR_LOCK_QUEUE_FULL', statusCode: 503, key: 'a', limit: 2, headers: { 'retry-after': '1' } })
  t.match(await rejection(locks.semaphore('b', 1).acquire()), { code: 'FC_ERR_LOCK_QUEUE_FULL', limit: 3 })
  t.strictSame(locks.stats(), { locks: 2, holding: 2, waiting: 3 })
  a.release()
  b.release()
  await Promise.all(waiting)
  t.strictSame(locks.stats(), { locks: 0, holding: 0, waiting: 0 })
})

t.test('a wait ends with its timeout, and names the holder\'s stack', async (t) => {
  const { locks } = await startLocks(t, { timeout: 20 })
  async function theHolder (): Promise<Disposable> {
    return locks.semaphore('a', 1).acquire()
  }
  using held = await theHolder()
  t.ok(held)
  t.match(await rejection(locks.semaphore('a', 1).acquire()), { code: 'FC_ERR_LOCK_TIMEOUT', statusCode: 503, key: 'a', kind: 'semaphore', timeout: 20, holder: /theHolder/ })
  t.match(await rejection(locks.semaphore('a', 1).acquire({ timeout: 0 })), { code: 'FC_ERR_LOCK_TIMEOUT', timeout: 0 })
  t.equal(locks.stats().waiting, 0)
})

t.test('a signal ends a wait, with its reason as the cause, and those behind go on', async (t) => {
  const { locks } = await startLocks(t)
  const lock = locks.rwlock('a')
  const controller = new AbortController()
  const [first, writer, behind] = [lock.acquireShared(), lock.acquire({ signal: controller.signal }), lock.acquireShared()]
  const reader = await first
  const reason = new Error('no more')
  controller.abort(reason)
  t.match(await rejection(writer), { code: 'FC_ERR_LOCK_ABORTED', statusCode: 499, cause: reason })
  ;(await behind).release()
  reader.release()
  t.match(await rejection(lock.acquire({ signal: controller.signal })), { code: 'FC_ERR_LOCK_ABORTED' }, 'also if it has aborted before')
})

t.test('a lock that is granted and given up in one turn is not lost', async (t) => {
  const { locks } = await startLocks(t)
  for (const abortFirst of [true, false]) {
    const mutex = locks.mutex('a')
    const controller = new AbortController()
    const first = mutex.acquire()
    const waiting = mutex.acquire({ signal: controller.signal, detached: true }).then((lock) => lock.release(), () => {})
    const held = await first
    if (abortFirst) controller.abort()
    held.release()
    controller.abort()
    await waiting
    t.equal(mutex.isLocked, false)
  }
})

t.test('a lock that is held too long is logged once, with the stack of its holder', async (t) => {
  const { lines, logger } = logLines()
  const { locks } = await startLocks(t, { maxHold: 20 }, { logger })
  const long = (): typeof lines => lines.filter(({ msg }) => msg.startsWith('a lock is held for longer'))
  async function forgetful (): Promise<Disposable> {
    return locks.mutex('a').acquire()
  }
  using lock = await forgetful()
  t.ok(lock)
  await until(() => long().length > 0, 'it is logged')
  t.match(long(), [{ level: 40, lock: 'mutex', key: 'a', acquired: /forgetful/ }])
  const second = await locks.mutex('b').acquire()
  await until(() => long().length > 1, 'the next is logged')
  second.release()
  t.strictSame(long().map(({ key }) => key), ['a', 'b'], 'each once')
})

t.test('locks that are held too long are one line a second for each kind, which counts the others; the channel has all', async (t) => {
  const { lines, logger } = logLines()
  const app = await startLocks(t, { maxHold: 20 }, { logger })
  const long = (): typeof lines => lines.filter(({ msg }) => msg.startsWith('a lock is held for longer'))
  let published = 0
  const count = (): void => { published++ }
  subscribe('fastify-concurrency:locks:hold-exceeded', count)
  t.teardown(() => unsubscribe('fastify-concurrency:locks:hold-exceeded', count))
  const began = performance.now()
  const readers = await Promise.all(Array.from({ length: 300 }, async () => app.locks.rwlock('a').acquireShared()))
  const others = await Promise.all(Array.from({ length: 300 }, async (_, n) => app.locks.mutex(String(n)).acquire()))
  await until(() => published === 600, 'each is published')
  for (const lock of [...readers, ...others]) lock.release()
  await app.close()
  for (const kind of ['rwlock', 'mutex']) {
    const ofKind = long().filter(({ lock }) => lock === kind)
    t.ok(ofKind.length <= 2 + (performance.now() - began) / 1_000, `${ofKind.length} lines of ${kind}`)
    t.equal(ofKind.reduce((sum, { others = 0 }) => sum + 1 + Number(others), 0), 300, 'every lock is counted')
  }
})

t.test('what is invalid is refused by name', async (t) => {
  const { locks } = await startLocks(t)
  t.throws(() => locks.mutex(5 as never), { code: 'FC_ERR_OPTION_INVALID', message: /mutex\(key\).*string.*5/ })
  t.throws(() => locks.semaphore('a', 0), { code: 'FC_ERR_OPTION_INVALID', message: /semaphore\("a"\)\.permits/ })
  await t.rejects(locks.mutex('a').runExclusive(5 as never), { code: 'FC_ERR_OPTION_INVALID', message: /function.*5/ })
  await t.rejects(locks.mutex('a').acquire({ timeot: 5 } as never), { code: 'FC_ERR_OPTION_INVALID', message: /options\.timeot.*timeout/ })
  await t.rejects(locks.mutex('a').acquire({ timeout: -1 }), { code: 'FC_ERR_OPTION_INVALID' })
  await t.rejects(locks.mutex('a').acquire({ signal: {} as never }), { code: 'FC_ERR_OPTION_INVALID', message: /options\.signal/ })
  t.equal(locks.mutex('a').isLocked, false)
  for (const options of [{ maxWaiting: -1 }, { maxWaitingTotal: 0.5 }, { maxOnce: '1' }, { timeout: -1 }, { maxHold: 0 }, { closeTimeout: NaN }, { ambient: 1 }, { maxwait: 1 }]) {
    await t.rejects(startLocks(t, options as never), { code: 'FC_ERR_OPTION_INVALID', message: new RegExp(`locks\\.${Object.keys(options)[0]}`) })
  }
})
