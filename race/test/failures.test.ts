// Whatever part of the detector fails: requests are answered as ever, the failure is said once, and whoever uses the detector next finds it whole.
import { channel } from 'node:diagnostics_channel'
import { fileURLToPath } from 'node:url'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import locks from '../../plugins/locks/index.ts'
import { Context, runIn } from '../src/context.ts'
import { detector } from '../src/detector.ts'
import { tryOrder } from '../src/explore/explore.ts'
import { Scheduler } from '../src/explore/scheduler.ts'
import { hasFailed, mend } from '../src/failure.ts'
import race, { shared } from '../src/index.ts'
import { remember } from '../src/register/rewritten.ts'
import { runtime } from '../src/register/runtime.ts'
import { transform } from '../src/register/transform.ts'
import { Reports } from '../src/reports.ts'
import { Shadow } from '../src/shadow.ts'
import { Site } from '../src/sites.ts'
import { dependenceOf } from '../src/source/dependence.ts'
import { sourceOf } from '../src/source/parse.ts'
import { Tracked } from '../src/tracked.ts'
import tasks from '../../plugins/tasks/index.ts'
import { turn } from './helper.ts'

const here = fileURLToPath(import.meta.url)
const broken = (): never => { throw new Error('a defect') }

/** An app in which each kind of access happens, and a race, so that reports are made. */
async function build (): Promise<FastifyInstance> {
  const app = Fastify() as unknown as FastifyInstance
  await app.register(race)
  await app.register(locks)
  await app.register(tasks)
  const state = shared({ count: 0, list: [{ n: 1 }, { n: 2 }], map: new Map([['k', { n: 0 }]]), set: new Set(['x']) }, 'state')
  app.get('/', async () => {
    const { count } = state
    const entry = state.map.get('k')
    let sum = 0
    for (const { n } of state.list) {
      await turn()
      sum += n
    }
    state.count = count + 1
    await app.locks.mutex('m').runExclusive(async () => { if (entry !== undefined) entry.n++ })
    const task = app.tasks.submit('add', async () => { state.list.push({ n: 0 }) })
    await task.done
    state.map.set('l', { n: sum })
    state.set.add('y')
    state.set.delete('y')
    return { sum, keys: [...state.map.keys()], has: state.set.has('x'), length: state.list.filter(({ n }) => n > 0).length }
  })
  return app
}

async function answers (): Promise<string[]> {
  const app = await build()
  const responses = await Promise.all([app.inject('/'), app.inject('/'), app.inject('/')])
  await app.close()
  return responses.map(({ statusCode, body }) => `${statusCode} ${body}`)
}

/** Replaces a member until the test ends. */
function replace (t: Test, owner: object, name: PropertyKey, descriptor: PropertyDescriptor): void {
  const before = Object.getOwnPropertyDescriptor(owner, name)
  Object.defineProperty(owner, name, { configurable: true, ...descriptor })
  t.teardown(() => { if (before === undefined) Reflect.deleteProperty(owner, name); else Object.defineProperty(owner, name, before) })
}

const method = (owner: object, name: PropertyKey) => (t: Test): void => replace(t, owner, name, { writable: true, value: broken })
const getter = (owner: object, name: PropertyKey) => (t: Test): void => replace(t, owner, name, { get: broken })

/** Each part of the detector that runs within a request, and how it fails. Detection ends then. */
const failures: Record<string, (t: Test) => void> = {
  'shadow memory': method(Shadow.prototype, 'locate'),
  'what a context remembers': method(Context.prototype, 'accessTo'),
  'what a context has seen': method(Context.prototype, 'seen'),
  'names of locations': method(Tracked.prototype, 'nameOf'),
  reports: method(Reports.prototype, 'add'),
  'frames of a site': getter(Site.prototype, 'frames'),
  'the key of a site': getter(Site.prototype, 'key'),
  'the name of a site': getter(Site.prototype, 'name'),
  'the count of turns': (t) => {
    const { queueMicrotask } = globalThis
    replace(t, globalThis, 'queueMicrotask', { writable: true, value: (fn: () => void) => new Error().stack?.includes('src/context.ts') === true ? broken() : queueMicrotask(fn) })
  },
  'a listener to reports': (t) => { t.teardown(detector.reports.onReport(broken)) },
  // The last one: from here on, this file has no source that tells how a write depends on a read.
  'a source map': (t) => {
    remember({ file: here, text: '', edits: [], map: { payload: { version: 3, sources: [], mappings: null as never }, file: here } })
    t.teardown(() => remember({ file: here, text: '', edits: [], map: undefined }))
  }
}

/** What the detector makes do without: it goes on. */
const survived: Record<string, (t: Test) => void> = {
  'the formatting of stacks, which throws': method(Error, 'prepareStackTrace'),
  'the formatting of stacks, which returns no text': (t) => replace(t, Error, 'prepareStackTrace', { value: () => [{ getFileName: () => here }] }),
  'a log that can\'t be written': (t) => {
    process.env['RACE_LOG'] = t.testdir()
    t.teardown(() => { delete process.env['RACE_LOG'] })
  }
}

for (const [name, breaks] of Object.entries({ ...failures, ...survived })) {
  t.test(`a failure of ${name} reaches no request`, async (t) => {
    const expected = await quietly(t, answers)
    const warnings: string[] = []
    const listener = ({ message }: Error): void => { if (message.includes('has failed')) warnings.push(message) }
    process.on('warning', listener)
    t.teardown(() => { process.off('warning', listener) })
    await t.test('broken', async (t) => {
      breaks(t)
      t.strictSame(await quietly(t, answers), expected)
      await turn()
      t.equal(warnings.length, name in failures ? 1 : 0, warnings.join('\n'))
    })
    t.equal(hasFailed(), false, 'whoever uses it next finds it whole')
  })
}

t.test('a source that the parser chokes on is no source', (t) => {
  remember({ file: '/nowhere/odd.js', text: { get length () { return broken() } } as never, edits: [], map: undefined })
  t.equal(sourceOf('/nowhere/odd.js'), undefined)
  t.equal(sourceOf('/nowhere/missing.js'), undefined)
  t.equal(dependenceOf([{ file: '/nowhere/odd.js', line: 1, column: 1 }], [{ file: '/nowhere/odd.js', line: 2, column: 1 }], true), 'unknown')
  t.end()
})

t.test('after a failure nothing is looked at', async (t) => {
  let looked = 0
  replace(t, Shadow.prototype, 'locate', { writable: true, value: () => { looked++; return broken() } })
  await answers()
  t.equal(looked, 1)
})

t.test('a message of locks that is none', async (t) => {
  const app = await build()
  app.get('/publish', async () => {
    for (const name of ['acquired', 'released']) channel(`fastify-concurrency:locks:${name}`).publish(undefined)
    return 'ok'
  })
  t.equal((await app.inject('/publish')).body, 'ok')
  await turn()
  t.equal(hasFailed(), true)
  await app.close()
})

/** Keeps the reports out of the test's output. */
async function quietly<T> (t: Test, fn: () => Promise<T>): Promise<T> {
  const { write } = process.stderr
  process.stderr.write = (() => true) as never
  t.teardown(() => { process.stderr.write = write })
  try {
    return await fn()
  } finally {
    process.stderr.write = write
  }
}

t.test('what rewritten code calls returns what the code would have had', async (t) => {
  t.teardown(detector.use())
  const trap = new Proxy({}, { getPrototypeOf: broken, getOwnPropertyDescriptor: broken, ownKeys: broken, get: broken })
  const odd = Object.create(Object.create(null, { constructor: { value: null } }) as object, { n: { value: 1, writable: true } }) as { n: number }
  runtime.fields('n')
  for (const [name, breaks] of [['whole', () => {}], ['shadow memory', method(Shadow.prototype, 'locate')], ['names', method(Tracked.prototype, 'nameOf')]] as const) {
    await t.test(name, async (t) => runIn(new Context('request', {}), () => {
      breaks(t)
      const tracked = new Tracked({ n: 1 }, 'object', false)
      const map = new Map([['a', {}]])
      t.equal(runtime.shared(map, 'map'), map)
      t.equal(runtime.shared(trap, 'trap'), trap)
      t.equal(runtime.data(trap, 'trap'), trap)
      t.equal(runtime.of(trap, 'trap.n'), undefined)
      t.equal(runtime.of(odd, 'this.n')?.collection.target, odd)
      t.equal(runtime.read({ collection: tracked, key: 'n' }, 5), 5)
      t.equal(runtime.write({ collection: tracked, key: 'n' }, 6), 6)
      t.equal(runtime.raw(trap), trap)
      let written = 0
      runtime.target<number>({ collection: tracked, key: 'n' }, (value) => { written = value }, () => 6).value = 7
      t.equal(written, 7)
      t.equal(hasFailed(), name !== 'whole')
      mend()
    }))
  }
})

t.test('a module that can\'t be rewritten runs as it is', (t) => {
  t.equal(transform('/nowhere/at/all.js'), undefined)
  t.equal(transform('/a.js', 'this is ( no JavaScript'), undefined)
  t.equal(transform('/a.js', { length: 5 } as never), undefined)
  t.end()
})

t.test('decorators named tasks and workers that are the application\'s own stay as they are', async (t) => {
  const own = Object.freeze({ run: () => 'mine', submit: () => 'mine' })
  const app = Fastify()
  t.teardown(async () => app.close())
  await app.register(race)
  app.decorate('tasks' as never, own as never)
  app.decorate('workers' as never, [1, 2] as never)
  await app.ready()
  t.strictSame([app.getDecorator('tasks'), Object.keys(app.getDecorator<number[]>('workers'))], [own, ['0', '1']])
  t.equal(hasFailed(), false)
})

t.test('a failure within explore() fails the exploration, and not the requests', async (t) => {
  const build = (): FastifyInstance => {
    const app = Fastify() as unknown as FastifyInstance
    app.get('/', async () => {
      await new Promise((resolve) => { setTimeout(resolve, 1) })
      await turn()
      return 'ok'
    })
    return app
  }
  const { park } = Scheduler.prototype
  const statuses: number[] = []
  const options = { requests: ['/', '/'], operations: [], invariant: (_app: unknown, responses: ReadonlyArray<{ statusCode: number }>) => { statuses.push(...responses.map(({ statusCode }) => statusCode)) } }
  await t.test('timers', async (t) => {
    // The arrivals of requests park as ever; what the requests start doesn't.
    replace(t, Scheduler.prototype, 'park', { writable: true, value (this: Scheduler, operation: { name: string }) { return operation.name.includes('arrives') ? park.call(this, operation as never) : broken() } })
    t.match((await tryOrder(build, options, 1)).failure, { error: { message: /the race detector has failed/ } })
  })
  t.strictSame(statuses, [200, 200])
  t.equal((await tryOrder(build, options, 1)).failure, undefined, 'the next is whole')
})
