// shared(): what it tracks, what it leaves alone, and that nobody else notices.
import { inspect, isDeepStrictEqual, types } from 'node:util'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import concurrency from '../../plugins/index.ts'
import race, { shared } from '../src/index.ts'
import { detector } from '../src/detector.ts'
import { hasFailed } from '../src/failure.ts'
import { Context, runIn } from '../src/context.ts'
import { unwrapDeep } from '../src/tracked.ts'
import workers from '../../plugins/workers/index.ts'
import { jobs } from '../../test/fixtures/jobs.ts'
import { execArgv } from '../../test/helper.ts'
import { turn } from './helper.ts'

/** Switches detection on for a test. */
function on (t: Test): void {
  t.teardown(detector.use())
}

/** The warnings of this process until the test ends. */
async function warningsOf (fn: () => void): Promise<string[]> {
  const warnings: string[] = []
  const listener = ({ message }: Error): void => { warnings.push(message) }
  process.on('warning', listener)
  fn()
  await new Promise((resolve) => setImmediate(resolve))
  process.off('warning', listener)
  return warnings
}

t.test('off: it returns its argument itself', async (t) => {
  for (const value of [{}, [], new Map(), new Set(), new Date()]) t.equal(shared(value, 'x'), value)
  t.equal(shared(5 as never, ''), 5)
})

t.test('what can\'t be tracked is returned as it is, with a warning that says why', async (t) => {
  on(t)
  class Account { #balance = 1; get balance (): number { return this.#balance } }
  const untrackable: Array<[unknown, RegExp]> = [
    [Object.freeze({}), /frozen/], [new Proxy({}, {}), /a Proxy/],
    [new Account(), /private fields/], [new Date(), /a Date/], [new Uint8Array(2), /a Uint8Array/], [Promise.resolve(), /a Promise/], [Object.preventExtensions(new Map()), /can't be extended/]
  ]
  for (const [value, why] of untrackable) {
    const warnings = await warningsOf(() => t.equal(shared(value as object, 'state'), value))
    t.match(warnings, [new RegExp(`"state" is not tracked for races: .*${why.source}`)])
  }
  for (const value of [5, null, 'text', () => {}]) t.throws(() => shared(value as never, 'state'), { code: 'FC_ERR_OPTION_INVALID', message: /"shared\(\): "state"": expected an object, .*\{ value: 0 \}/ }, 'a variable of it is not seen')
  t.throws(() => shared({}, ''), { code: 'FC_ERR_OPTION_INVALID' })
  t.throws(() => shared({}, 'x', { lwww: true } as never), { code: 'FC_ERR_OPTION_INVALID' })
})

t.test('what is shared already is returned as it is; one value has one proxy', async (t) => {
  on(t)
  const value = { a: 1 }
  const proxy = shared(value, 'x')
  t.not(proxy, value)
  t.equal(shared(proxy, 'x'), proxy)
  t.equal(shared(value, 'x'), proxy)
})

t.test('a proxy behaves as what it stands for, in a context and outside', async (t) => {
  on(t)
  class Point { x = 1; constructor (x: number) { this.x = x } get double (): number { return this.x * 2 } move (by: number): number { this.x += by; return this.x } }
  const check = (): void => {
    const plain = { a: 1, list: [3, 1, 2], map: new Map([['k', { v: 1 }]]), set: new Set([1, 2]), get sum (): number { return this.a + 1 } }
    const object = shared(structuredClone({ ...plain }), 'object') as typeof plain
    t.equal(JSON.stringify(object.list), '[3,1,2]')
    t.ok(Array.isArray(object.list))
    t.strictSame([...object.list], [3, 1, 2])
    t.strictSame(object.list.toSorted(), [1, 2, 3])
    t.equal(object.list.push(4, 5), 5)
    t.strictSame(object.list.splice(1, 2), [1, 2])
    t.equal(object.list.sort(), object.list)
    t.strictSame([object.list[0], object.list.at(-1), object.list.length, object.list.includes(4), object.list.indexOf(9)], [3, 5, 3, true, -1])
    object.list.length = 1
    t.strictSame([...object.list.entries()], [[0, 3]])
    t.equal(object.map.size, 1)
    t.equal(object.map.get('k'), object.map.get('k'), 'what is within has one proxy')
    t.equal(object.map.set('l', { v: 2 }), object.map)
    t.strictSame([...object.map.keys()], ['k', 'l'])
    t.strictSame([...object.map].map(([key, { v }]) => [key, v]), [['k', 1], ['l', 2]])
    const seen: unknown[] = []
    object.map.forEach(({ v }, key, map) => seen.push(v, key, map === object.map))
    t.strictSame(seen, [1, 'k', true, 2, 'l', true])
    t.strictSame([object.map.has('k'), object.map.delete('k'), object.map.has('k'), object.map.delete('k')], [true, true, false, false])
    object.map.clear()
    t.equal(object.map.size, 0)
    t.equal(object.set.add(3), object.set)
    t.strictSame([...object.set, object.set.size, object.set.has(3), object.set.delete(3)], [1, 2, 3, 3, true, true])
    t.ok(object.map instanceof Map)
    t.strictSame(Object.keys(object), ['a', 'list', 'map', 'set', 'sum'])
    t.strictSame({ ...object }.a, 1)
    t.ok('a' in object)
    delete (object as { a?: number }).a
    t.notOk('a' in object)
    t.ok(isDeepStrictEqual({ ...object.list }, { 0: 3 }))
    t.type(inspect(object), 'string')
    const point = shared(new Point(2), 'point')
    t.strictSame([point.move(3), point.double, point.x, point instanceof Point], [5, 10, 5, true])
    const record = { inner: {} }
    const outer = shared({ record }, 'outer')
    t.equal(outer.record, outer.record)
    const { record: again } = outer
    outer.record = again
    t.equal(record.inner, unwrapDeep(outer.record.inner), 'nothing tracked is kept in what is tracked')
    const fixed = shared(Object.defineProperty({} as { at?: object }, 'at', { value: {} }), 'fixed')
    t.type(fixed.at, 'object')
  }
  check()
  runIn(new Context('request', {}), check)
})

t.test('a Map or Set remains the object that it was, for built-ins that refuse a Proxy, and for classes of its own', async (t) => {
  on(t)
  class Registry extends Map<string, number> {
    #misses = 0
    override get (key: string): number | undefined {
      if (!this.has(key)) this.#misses++
      return super.get(key)
    }

    get misses (): number { return this.#misses }
  }
  const check = (): void => {
    const map = new Map([['a', { n: 1 }]])
    const set = new Set(['a'])
    const key = {}
    const weakMap = shared(new WeakMap([[key, 1]]), 'weakMap')
    const weakSet = shared(new WeakSet([key]), 'weakSet')
    t.equal(shared(map, 'map'), map)
    t.equal(shared(set, 'set'), set)
    t.ok(types.isMap(map) && types.isSet(set))
    t.strictSame([Map.prototype.get.call(map, 'a'), Set.prototype.has.call(set, 'a')], [{ n: 1 }, true])
    t.strictSame(structuredClone(map), new Map([['a', { n: 1 }]]))
    t.ok(isDeepStrictEqual(map, new Map([['a', { n: 1 }]])) && isDeepStrictEqual(set, new Set(['a'])))
    t.equal(inspect(map), 'Map(1) { \'a\' => { n: 1 } }')
    t.strictSame([Object.keys(map), new Map(map).size, new Set(set).size], [[], 1, 1])
    t.strictSame([weakMap.get(key), weakMap.set(key, 2) === weakMap, weakMap.has(key), weakMap.delete(key), weakMap.has(key)], [1, true, true, true, false])
    t.strictSame([weakSet.has(key), weakSet.add(key) === weakSet, weakSet.delete(key), weakSet.has(key)], [true, true, true, false])
    const registry = shared(new Registry([['a', 1]]), 'registry')
    t.strictSame([registry.get('a'), registry.get('b'), registry.misses, registry.size, registry instanceof Registry], [1, undefined, 1, 1, true])
  }
  check()
  runIn(new Context('request', {}), check)
})

t.test('what is known of a weak collection keeps no key', async (t) => {
  on(t)
  const map = shared(new WeakMap<object, number>(), 'map')
  const { size } = detector.shadow
  runIn(new Context('request', {}), () => { for (let n = 0; n < 10; n++) map.set({}, n) })
  t.equal(detector.shadow.size, size)
})

t.test('what the detector itself looks at, to compare what was written, is no access', async (t) => {
  on(t)
  const cache = shared(new Map<string, Map<string, number>>(), 'cache')
  const [a, b] = [new Context('a', {}), new Context('b', {})]
  const fill = (): void => { cache.set('k', new Map([['x', 1], ['y', 2]])) }
  const { size } = detector.shadow
  runIn(a, () => cache.get('k'))
  runIn(b, () => cache.get('k'))
  await turn()
  runIn(a, fill)
  cache.get('k')
  runIn(b, fill)
  t.equal(detector.shadow.size - size, 2, 'the key, and the whole of the cache')
})

t.test('an iteration may go on outside any context', async (t) => {
  on(t)
  const list = shared([1, 2, 3], 'list')
  const steps = runIn(new Context('request', {}), () => list[Symbol.iterator]())
  t.equal(runIn(new Context('request', {}), () => steps.next().value), 1)
  await turn()
  t.equal(steps.next().value, 2)
  t.equal(hasFailed(), false)
})

t.test('copies for threads: values may refer to each other in circles', (t) => {
  on(t)
  interface Node { self?: Node, list?: unknown }
  const node: Node = {}
  node.self = node
  t.equal(unwrapDeep(node), node)
  node.list = shared([1], 'list')
  const copy = unwrapDeep(node) as Node
  t.equal(copy.self, copy)
  t.strictSame(structuredClone(copy.list), [1])
  t.end()
})

t.test('shadow memory is bounded: the oldest locations are forgotten', async (t) => {
  const app = Fastify() as unknown as FastifyInstance
  await app.register(race, { maxLocations: 100 })
  const map = shared(new Map<number, number>(), 'map')
  app.get('/', async () => { for (let key = 0; key < 1_000; key++) map.set(key, key) })
  await app.inject('/')
  t.equal(detector.shadow.size, 100)
  await app.close()
  t.equal(detector.shadow.size, 0, 'and none are kept when nobody looks for races')
  detector.shadow.most = 100_000
})

t.test('tracked values go to threads as they are', async (t) => {
  const app = Fastify() as unknown as FastifyInstance
  t.teardown(async () => app.close())
  await app.register(race)
  await app.register(workers, { jobs, maxThreads: 1, execArgv })
  const list = shared([{ a: 1 }], 'list')
  app.get('/', async () => [
    await app.workers.run('echo' as never, { list, first: list[0] } as never),
    await app.workers.map('echo' as never, list as never)
  ])
  t.strictSame((await app.inject('/')).json(), [{ list: [{ a: 1 }], first: { a: 1 } }, [{ a: 1 }]])
})

t.test('an app without a pool boots with the detector registered after the suite', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(concurrency)
  await app.register(race)
  await app.ready()
  t.throws(() => app.workers, { code: 'FC_ERR_PART_MISSING' })
})
