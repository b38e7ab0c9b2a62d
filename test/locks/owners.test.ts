// A lock belongs to no code. What its holder has started waits as everybody does, and is served. Only a wait that the holder itself awaits
// can't end: it is cut off by its timeout, and its error names the holder.
import fc from 'fast-check'
import t from 'tap'
import type { Locks } from '../../plugins/locks/index.ts'
import tasks from '../../plugins/tasks/index.ts'
import { deferred, rejection } from '../helper.ts'
import { startLocks, turn } from './helper.ts'

const timedOut = { code: 'FC_ERR_LOCK_TIMEOUT', statusCode: 503, key: 'a', timeout: 20, holder: /holdsIt/ }

t.test('code that awaits a lock under the same lock is cut off by the timeout, with the stack of its holder, in whichever style', async (t) => {
  const { locks } = await startLocks(t, { timeout: 20 })
  const mutex = locks.mutex('a')
  const inner = {
    runExclusive: async () => mutex.runExclusive(() => {}),
    acquire: async () => mutex.acquire()
  }
  for (const [style, ask] of Object.entries(inner)) {
    await (async function holdsIt () { await mutex.runExclusive(async () => { t.match(await rejection(ask()), timedOut, style) }) })()
    await (async function holdsIt () {
      await using lock = await mutex.acquire()
      t.match(await rejection(ask()), timedOut, `${style} after acquire(), of ${lock.key}`)
    })()
    t.equal(mutex.isLocked, false, 'the holder goes on, and gives the lock back')
  }
  const rwlock = locks.rwlock('a')
  await (async function holdsIt () { await rwlock.runShared(async () => { t.match(await rejection(rwlock.runExclusive(() => {})), timedOut, 'a reader that wants to write') }) })()
  await (async function holdsIt () { await rwlock.runExclusive(async () => { t.match(await rejection(rwlock.runShared(() => {})), timedOut, 'a writer that wants to read') }) })()
  const semaphore = locks.semaphore('a', 1)
  await (async function holdsIt () { await semaphore.run(async () => { t.match(await rejection(semaphore.acquire()), timedOut, 'the last permit') }) })()
  t.strictSame(locks.stats(), { locks: 0, holding: 0, waiting: 0 })
})

t.test('a background task that is submitted under a lock waits for it: by a request, a task, a timer and the boot', async (t) => {
  const app = await startLocks(t)
  await app.register(tasks)
  const mutex = app.locks.mutex('a')
  /** Submits a task under the lock, which asks for the lock while it is still held. */
  const underLock = async (id: string): Promise<string> => {
    const { done } = await mutex.runExclusive(async () => {
      const asked = deferred()
      const { done } = app.tasks.submit(id, async () => {
        const served = mutex.runExclusive(() => 'served')
        asked.resolve()
        return await served
      })
      await asked.promise
      return { done }
    })
    return await done
  }
  app.get('/', async () => underLock('of a request'))
  t.equal((await app.inject('/')).body, 'served')
  t.equal(await app.tasks.submit('a task', async () => underLock('of a task')).done, 'served')
  t.equal(await new Promise((resolve, reject) => setTimeout(() => { underLock('of a timer').then(resolve, reject) })), 'served')
  t.equal(await underLock('of the boot'), 'served')
})

t.test('a timer that is set under a lock, and takes it, is served', async (t) => {
  const app = await startLocks(t)
  for (const hold of ['runExclusive', 'acquire'] as const) {
    const served = deferred<string>()
    const mutex = app.locks.mutex('a')
    const whileHeld = async (): Promise<void> => {
      const fired = deferred()
      setTimeout(() => {
        // Nobody awaits it, as in the field: a rejection would end the process.
        void mutex.runExclusive(() => served.resolve(hold))
        fired.resolve()
      })
      await fired.promise
      await turn()
    }
    if (hold === 'runExclusive') await mutex.runExclusive(whileHeld)
    else {
      await using lock = await mutex.acquire()
      t.ok(lock)
      await whileHeld()
    }
    t.equal(await served.promise, hold)
  }
})

t.test('parallel branches of a request with acquire() are served in turn, wherever each of them begins', async (t) => {
  const app = await startLocks(t)
  const mutex = app.locks.mutex('a')
  let inside = 0
  const branch = async (turns: number): Promise<string> => {
    for (let n = 0; n < turns; n++) await turn()
    await using lock = await mutex.acquire()
    t.equal(++inside, 1)
    await turn()
    inside--
    return lock.key
  }
  app.get('/', async () => {
    const first = branch(0)
    await turn()
    return (await Promise.all([first, branch(0), branch(1), branch(2)])).join('')
  })
  t.strictSame((await Promise.all(['/', '/'].map(async (url) => app.inject(url)))).map(({ body }) => body), ['aaaa', 'aaaa'])
})

t.test('whatever is started under locks and not awaited there is served, and no two hold a lock at a time', async (t) => {
  const app = await startLocks(t)
  await app.register(tasks)
  await app.ready()
  interface Work { lock: 'mutex' | 'rwlock', style: 'run' | 'acquire', start: 'now' | 'timer' | 'immediate' | 'task', parts: Work[] }
  const workOf = (levels: number): fc.Arbitrary<Work> => fc.record({
    lock: fc.constantFrom('mutex', 'rwlock'),
    style: fc.constantFrom('run', 'acquire'),
    start: fc.constantFrom('now', 'timer', 'immediate', 'task'),
    parts: levels === 0 ? fc.constant<Work[]>([]) : fc.array(workOf(levels - 1), { maxLength: 3 })
  })
  let id = 0
  const starts: Record<Work['start'], (fn: () => Promise<void>) => Promise<void>> = {
    now: async (fn) => fn(),
    timer: async (fn) => new Promise((resolve, reject) => setTimeout(() => { fn().then(resolve, reject) })),
    immediate: async (fn) => new Promise((resolve, reject) => setImmediate(() => { fn().then(resolve, reject) })),
    task: async (fn) => app.tasks.submit(String(id++), fn).done
  }
  const run = async (locks: Locks, inside: Record<string, number>, { lock, style, start, parts }: Work): Promise<void> => starts[start](async () => {
    const children: Array<Promise<void>> = []
    const body = async (): Promise<void> => {
      t.equal(inside[lock] = (inside[lock] ?? 0) + 1, 1)
      for (const part of parts) children.push(run(locks, inside, part))
      await turn()
      inside[lock]--
    }
    if (style === 'run') await locks[lock]('a').runExclusive(body)
    else {
      await using held = await locks[lock]('a').acquire()
      t.ok(held)
      await body()
    }
    await Promise.all(children)
  })
  await fc.assert(fc.asyncProperty(workOf(3), async (each) => run(app.locks, {}, each)), { numRuns: 50 })
  t.strictSame(app.locks.stats(), { locks: 0, holding: 0, waiting: 0 })
})
