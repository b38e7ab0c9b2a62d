import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import tasks from '../../../plugins/tasks/index.ts'
import { Group } from '../../../plugins/tasks/group/group.ts'
import { assertIdle } from '../../../plugins/testing.ts'
import { deferred, logLines, rejection, until, type LogLine } from '../../helper.ts'

function group<T> (limit = Infinity, parents: AbortSignal[] = []): Group<T> {
  return new Group<T>(limit, parents)
}

async function build (t: Test): Promise<{ app: FastifyInstance, lines: LogLine[] }> {
  const { lines, logger } = logLines()
  const app = Fastify({ logger }) as unknown as FastifyInstance
  t.teardown(async () => {
    await app.close()
    await assertIdle(app)
  })
  await app.register(tasks)
  return { app, lines }
}

/** Settles when its signal aborts. */
const untilAborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))

t.test('go() starts at once, wait() gives what all returned, in the order of go()', async (t) => {
  const g = group<number>()
  const slow = deferred<number>()
  await g.go(() => slow.promise)
  await g.go(async () => 2)
  t.equal(g.tryGo(() => 3), true)
  slow.resolve(1)
  t.same(await g.wait(), [1, 2, 3])
  t.same(await g.wait(), [1, 2, 3], 'wait() again is the same')
})

t.test('go() waits for a place, tryGo() does not', async (t) => {
  const g = group(2)
  const first = deferred()
  let started = false
  await g.go(() => first.promise)
  await g.go(() => new Promise(setImmediate).then(() => first.promise))
  t.equal(g.tryGo(() => {}), false)
  const third = g.go(() => { started = true })
  await new Promise(setImmediate)
  t.equal(started, false)
  first.resolve()
  t.equal(await third, true)
  t.equal(started, true)
  await g.wait()
})

t.test('the first error aborts the others; wait() throws it when all have settled; the others are in `errors`', async (t) => {
  const g = group(2)
  const settled: string[] = []
  const first = new Error('first')
  const late = deferred()
  await g.go(async ({ signal }) => {
    await untilAborted(signal).catch(() => {})
    await late.promise
    settled.push('late')
    throw new Error('second')
  })
  await g.go(async () => { throw first })
  const skipped = g.go(() => { settled.push('must not run') })
  t.equal(await skipped, false)
  t.equal(g.signal.reason, first)
  const waited = rejection(g.wait())
  late.resolve()
  const error = await waited
  t.equal(error, first)
  t.same(settled, ['late'])
  t.notOk('errors' in error, 'the error is the application\'s, and stays as it is')
  t.same(g.errors.map((each) => (each as Error).message), ['second'])
})

t.test('functions that reject with the signal\'s own reason are no further errors', async (t) => {
  const g = group()
  await g.go(({ signal }) => untilAborted(signal))
  await g.go(({ signal }) => untilAborted(signal))
  await g.go(() => { throw new TypeError('sync') })
  const error = await rejection(g.wait())
  t.equal(error.name, 'TypeError')
  t.same(g.errors, [])
})

t.test('a group that its signal has aborted rejects with the signal\'s reason, whatever its functions make of it', async (t) => {
  const wrapped = (code: string, cause: unknown): Error => Object.assign(new Error('aborted', { cause }), { code })
  for (const end of [
    async (signal: AbortSignal) => await sleep(60_000, undefined, { signal }),
    async (signal: AbortSignal) => await sleep(60_000, undefined, { signal }).catch((error: Error) => { throw wrapped('FC_ERR_JOB_ABORTED', error.cause) })
  ]) {
    const parent = new AbortController()
    const g = group(2, [parent.signal])
    await g.go(({ signal }) => end(signal))
    const reason = new DOMException('deadline', 'TimeoutError')
    parent.abort(reason)
    t.equal(await rejection(g.wait()), reason)
    t.strictSame(g.errors, [])
  }
  const parent = new AbortController()
  const g = group(2, [parent.signal])
  await g.go(async ({ signal }) => await sleep(60_000, undefined, { signal }).catch((error: Error) => { throw wrapped('E_REPORT', error.cause) }))
  parent.abort(new Error('left'))
  t.match(await rejection(g.wait()), { code: 'E_REPORT' }, 'an error of the application\'s own stays')
})

t.test('a parent\'s abort reaches the functions; what it kept from starting makes wait() reject', async (t) => {
  const parent = new AbortController()
  const g = group(1, [parent.signal])
  await g.go(({ signal }) => untilAborted(signal).catch(() => {}))
  const skipped = g.go(() => {})
  parent.abort(new Error('left'))
  t.equal(await skipped, false)
  t.match(await rejection(g.wait()), { message: 'left' })
  const done = group(1, [parent.signal])
  t.same(await done.wait(), [], 'nothing was kept from starting')
  t.equal(done.tryGo.bind(done) !== undefined, true)
})

t.test('go() after wait() throws; go() from inside a function of the group does not', async (t) => {
  const g = group()
  const order: string[] = []
  await g.go(async () => {
    await g.go(async () => {
      await new Promise(setImmediate)
      order.push('inner')
    })
    order.push('outer')
  })
  await g.wait()
  t.same(order, ['outer', 'inner'])
  t.throws(() => g.go(() => {}), { code: 'FC_ERR_GROUP_ENDED' })
  t.throws(() => g.tryGo(() => {}), { code: 'FC_ERR_GROUP_ENDED' })
  await t.rejects(g.map([1], () => {}), { code: 'FC_ERR_GROUP_ENDED' })
  await t.rejects(g.race([() => {}]), { code: 'FC_ERR_GROUP_ENDED' })
})

t.test('nested groups: the inner error ends both, outermost last', async (t) => {
  const outer = group()
  const order: string[] = []
  await outer.go(({ signal }) => untilAborted(signal).finally(() => order.push('outer aborted')))
  await outer.go(async ({ signal }) => {
    const inner = group(2, [signal])
    await inner.go(() => { throw new Error('inner') })
    await inner.wait().finally(() => order.push('inner ended'))
  })
  t.match(await rejection(outer.wait()), { message: 'inner' })
  t.same(order, ['inner ended', 'outer aborted'])
})

t.test('map: in order, no more than the limit at once', async (t) => {
  let running = 0
  let most = 0
  const results = await group(3).map(Array.from({ length: 20 }, (_, i) => i), async (item, { index }) => {
    t.equal(item, index)
    most = Math.max(most, ++running)
    for (let i = 0; i < 20 - item; i++) await Promise.resolve()
    running--
    return item * 2
  })
  t.same(results, Array.from({ length: 20 }, (_, i) => i * 2))
  t.equal(most, 3)
})

t.test('map: an async iterable is read no further ahead than the limit, and ended at the first error', async (t) => {
  let read = 0
  let ended = false
  async function * source (): AsyncGenerator<number> {
    try {
      for (;;) yield read++
    } finally {
      ended = true
    }
  }
  const gates = [deferred(), deferred()]
  const g = group(2)
  const mapped = g.map(source(), async (item) => {
    await gates[item]?.promise
    if (item === 1) throw new Error('at 1')
  })
  await until(() => read === 2, 'as many items as may run have been read')
  await new Promise(setImmediate)
  t.equal(read, 2, 'and no more')
  gates[1]!.resolve()
  await new Promise(setImmediate)
  gates[0]!.resolve()
  t.match(await rejection(mapped), { message: 'at 1' })
  await until(() => ended, 'the source has cleaned up')
  t.ok(read <= 3)
  t.match(await rejection(g.wait()), { message: 'at 1' }, 'it is the group\'s error as well')
})

t.test('map: a source that gives no further item does not delay an abort; the error of a source that fails is thrown', async (t) => {
  const parent = new AbortController()
  async function * silent (): AsyncGenerator<number> {
    yield 1
    await new Promise(() => {})
  }
  const mapped = group(2, [parent.signal]).map(silent(), (item) => item)
  await new Promise(setImmediate)
  parent.abort(new Error('left'))
  t.match(await rejection(mapped), { message: 'left' }, 'a part is never passed off as the whole')

  async function * broken (): AsyncGenerator<number> {
    yield 1
    throw new Error('broken source')
  }
  t.match(await rejection(group(2).map(broken(), (item) => item)), { message: 'broken source' })
  t.same(await group().map([], () => 1), [])
})

t.test('map: a source that aborts the group while it is read does not hold up map(), though it never answers', async (t) => {
  const parent = new AbortController()
  const source = {
    [Symbol.asyncIterator]: () => ({
      next () {
        parent.abort(new Error('left'))
        return new Promise<never>(() => {})
      }
    })
  }
  t.match(await rejection(group(2, [parent.signal]).map(source, (item) => item)), { message: 'left' })
})

t.test('map: a source without an end is read no further after an error, and is ended', async (t) => {
  let read = 0
  let ended = false
  function * source (): Generator<number> {
    try {
      for (;;) yield read++
    } finally {
      ended = true
    }
  }
  const mapped = group(2).map(source(), async (item) => {
    if (item === 5) throw new Error('at 5')
  })
  t.match(await rejection(mapped), { message: 'at 5' })
  t.equal(ended, true)
  t.ok(read <= 8, `${read} items were read`)
})

t.test('map: a source that has ended, or has failed, is not ended again', async (t) => {
  let returned = 0
  const source = (last: () => IteratorResult<number>): Iterable<number> => {
    let left = 3
    const next = (): IteratorResult<number> => left-- > 0 ? { done: false, value: left } : last()
    return { [Symbol.iterator]: () => ({ next, return: () => ({ done: true, value: ++returned }) }) }
  }
  t.same(await group(2).map(source(() => ({ done: true, value: 0 })), (item) => item), [2, 1, 0])
  const failing = source(() => { throw new Error('broken') })
  t.match(await rejection(group(2).map(failing, (item) => item)), { message: 'broken' })
  t.equal(returned, 0)
})

t.test('map: a source that answers with no object is an error, and not the end', async (t) => {
  for (const answer of [undefined, null, 5]) {
    for (const next of [() => answer, async () => answer]) {
      const source = { [Symbol.asyncIterator]: () => ({ next }) } as never
      t.match(await rejection(group(2).map(source, (item) => item)),
        { name: 'TypeError', message: `The iterator's next() returned ${answer}, which is not an object` })
    }
  }
})

t.test('map: the error of an item is the group\'s error once, and those that follow are in `errors`', async (t) => {
  const g = group()
  const mapped = g.map([1, 2], async (item, { signal }) => {
    if (item === 2) throw new Error('second')
    await untilAborted(signal).catch(() => {})
    throw new Error('first')
  })
  t.match(await rejection(mapped), { message: 'second' })
  t.match(await rejection(g.wait()), { message: 'second' })
  t.match(g.errors, [{ message: 'first' }])
})

t.test('race: the first to settle decides, the losers are aborted and waited for', async (t) => {
  const g = group()
  const log: string[] = []
  const winner = await g.race([
    async () => 'fast',
    async ({ signal }) => {
      await untilAborted(signal).catch(() => {})
      await new Promise(setImmediate)
      log.push('loser has cleaned up')
      return 'slow'
    }
  ])
  t.equal(winner, 'fast')
  t.same(log, ['loser has cleaned up'])
  t.match(await rejection(g.race([() => { throw new Error('fails first') }, ({ signal }) => untilAborted(signal)])), { message: 'fails first' })
  t.equal(g.signal.aborted, false, 'a race that is lost is no error of the group')
  t.match(await rejection(g.race([])), { code: 'FC_ERR_OPTION_INVALID', message: /at least one function/ })
  await g.wait()
})

t.test('wait() and `await using` wait for a map() and a race() that nobody awaited', async (t) => {
  const [mapped, raced] = [deferred(), deferred()]
  const ended: string[] = []
  const g = group()
  const map = g.map([1], async () => { await mapped.promise; ended.push('map') })
  const race = g.race([async () => { await raced.promise; ended.push('race') }])
  const waited = g.wait().then(() => ended.push('wait'))
  mapped.resolve()
  await map
  raced.resolve()
  await race
  await waited
  t.same(ended, ['map', 'race', 'wait'])

  let left: Promise<unknown> | undefined
  let settled = false
  await (async () => {
    const begun = deferred()
    await using scope = group()
    left = rejection(scope.map([1], async (_item, { signal }) => {
      begun.resolve()
      await untilAborted(signal).finally(() => { settled = true })
    }))
    await begun.promise
  })()
  t.equal(settled, true)
  t.match(await left, { name: 'AbortError' })
})

t.test('a group refuses what is no function or no iterable, and calls after wait()', async (t) => {
  const g = group()
  const bad = { code: 'FC_ERR_OPTION_INVALID' }
  t.throws(() => g.go('x' as never), bad)
  t.throws(() => g.tryGo(undefined as never), bad)
  t.match(await rejection(g.map([1], 'x' as never)), bad)
  t.match(await rejection(g.map(null as never, () => {})), bad)
  t.match(await rejection(g.race([() => 1, 7 as never])), bad)
  t.match(await rejection(g.race('x' as never)), bad)
  t.same(await g.map('ab', (letter) => letter), ['a', 'b'])
  t.same(await g.wait(), [])
  const { app } = await build(t)
  for (const options of [null, { limit: 0 }, { limit: 2.5 }, { limit: NaN }, { limit: -Infinity }, { signal: {} }, { detached: 1 }, { x: 1 }]) {
    t.throws(() => app.tasks.group(options as never), bad, JSON.stringify(options))
  }
  const parent = new AbortController()
  const aborted = group(2, [parent.signal])
  parent.abort(new Error('gone'))
  let ran = false
  t.match(await rejection(aborted.race([() => { ran = true }])), { message: 'gone' })
  t.equal(ran, false)
})

t.test('await using leaves nothing running, and reports an error that nobody has awaited', async (t) => {
  const { app, lines } = await build(t)
  let settled = false
  await t.rejects((async () => {
    await using g = app.tasks.group()
    await g.go(async ({ signal }) => {
      await untilAborted(signal).catch(() => {})
      settled = true
      throw new Error('unseen')
    })
    throw new Error('the scope fails')
  })(), { message: 'the scope fails' })
  t.equal(settled, true)
  await new Promise(setImmediate)
  t.match(lines.find(({ msg }) => msg.startsWith('a group has failed')), { err: { message: 'unseen' } })
  await (async () => {
    await using g = app.tasks.group<number>()
    await g.go(() => 1)
    t.same(await g.wait(), [1])
  })()
})

t.test('await using does not abort the signal of a group that has nothing left to run', async (t) => {
  let signal: AbortSignal | undefined
  await (async () => {
    await using g = group<number>()
    signal = g.signal
    await g.go(() => 1)
    await g.wait()
  })()
  t.equal(signal?.aborted, false)
})

t.test('the error of a wait() that nobody awaits is reported; that the group\'s parent has aborted is not', async (t) => {
  const { app, lines } = await build(t)
  const failing = app.tasks.group()
  await failing.go(() => { throw new Error('unseen') })
  void failing.wait()
  const parent = new AbortController()
  const stopped = app.tasks.group({ signal: parent.signal })
  await stopped.go(({ signal }) => untilAborted(signal))
  void stopped.wait()
  parent.abort(new Error('stopped'))
  await until(() => app.tasks.stats().running === 0, 'both have ended')
  await new Promise(setImmediate)
  await new Promise(setImmediate)
  t.match(lines.filter(({ msg }) => msg.startsWith('a group has failed')), [{ err: { message: 'unseen' } }])
})

t.test('in a handler the client\'s leaving aborts the group, unless it is detached; in a task the task\'s signal does', async (t) => {
  const { app } = await build(t)
  const outcomes: Record<string, unknown> = {}
  const detached = deferred()
  const entered = deferred()
  const left = deferred()
  app.post('/report', async () => {
    const attached = app.tasks.group()
    const free = app.tasks.group({ detached: true })
    await attached.go(({ signal }) => untilAborted(signal))
    await free.go(() => detached.promise)
    entered.resolve()
    outcomes['attached'] = await rejection(attached.wait())
    outcomes['detached'] = free.signal.aborted
    left.resolve()
    await free.wait()
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const client = httpRequest({ port: (app.server.address() as AddressInfo).port, host: '127.0.0.1', method: 'POST', path: '/report', headers: { 'content-type': 'application/json' } })
  client.on('error', () => {})
  client.end('{}')
  await entered.promise
  client.destroy()
  await left.promise
  t.match(outcomes['attached'], { name: 'AbortError' })
  t.equal(outcomes['detached'], false)
  detached.resolve()
  if (!client.closed) await once(client, 'close')

  const task = app.tasks.submit('task', async () => {
    const g = app.tasks.group()
    await g.go(({ signal }) => untilAborted(signal))
    await g.wait()
  })
  await until(() => task.status === 'running', 'it runs')
  task.cancel()
  t.match(await rejection(task.done), { code: 'FC_ERR_TASK_ABORTED' })
})
