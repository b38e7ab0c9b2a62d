import t from 'tap'
import fc from 'fast-check'
import { uncloneablePath } from '../../workers/cloneable.ts'
import { fromWire, toWire } from '../../workers/wire-error.ts'

const across = (thrown: unknown): unknown => fromWire(structuredClone(toWire(thrown)))

t.test('whatever is thrown crosses, and nothing hostile in it throws', async (t) => {
  fc.assert(fc.property(fc.anything(), (value) => {
    const wire = structuredClone(toWire(value))
    return wire.isError === false || fromWire(wire) instanceof Error
  }), { numRuns: 2_000 })
  const hostile = new Error('hostile')
  Object.defineProperty(hostile, 'message', { get () { throw new Error('gotcha') }, enumerable: true })
  Object.defineProperty(hostile, 'bad', { get () { throw new Error('gotcha') }, enumerable: true })
  t.ok(across(hostile) instanceof Error)
  t.ok(across(Object.assign(new Error('x'), { constructor: null, __proto__: null })))
  t.equal(Object.getPrototypeOf(across(Object.defineProperty(new Error('x'), '__proto__', { value: { polluted: 1 }, enumerable: true }))), Error.prototype)
})

t.test('a code that the class and not the instance has', async (t) => {
  class NotFound extends Error { get statusCode (): number { return 404 } get code (): string { return 'E_NOT_FOUND' } }
  t.match(across(new NotFound('gone')), { message: 'gone', statusCode: 404, code: 'E_NOT_FOUND' })
})

t.test('causes of all kinds, deep chains cut', async (t) => {
  t.match(across(new Error('a', { cause: 'text' })), { cause: 'text' })
  t.match(across(new Error('a', { cause: null })), { cause: null })
  let deep: Error = new Error('bottom')
  for (let n = 0; n < 100; n++) deep = new Error(String(n), { cause: deep })
  let depth = 0
  for (let at = across(deep) as Error | undefined; at !== undefined; at = at.cause as Error | undefined) depth++
  t.ok(depth > 3 && depth < 20, `${depth}`)
})

t.test('the path of what can\'t be cloned', async (t) => {
  for (const [value, path] of [
    [() => {}, 'payload'],
    [Symbol('s'), 'payload'],
    [{ a: { b: [0, 1, { c () {} }] } }, 'payload.a.b[2].c'],
    [{ 'odd key': () => {} }, 'payload["odd key"]'],
    [new Map([['k', () => {}]]), 'payload.get("k")'],
    [new Set([() => {}]), 'payload.values()'],
    [new WeakMap(), 'payload'],
    [{ fine: 1 }, 'payload']
  ] as Array<[unknown, string]>) t.equal(uncloneablePath(value, 'payload'), path)
  const cycle: Record<string, unknown> = { bad: () => {} }
  cycle['self'] = cycle
  t.equal(uncloneablePath(cycle, 'p'), 'p.bad')
  t.equal(uncloneablePath({ get boom () { throw new Error('no') } }, 'p'), 'p')
})

t.test('errors of errors: only an AggregateError is one, and what holds itself many times is cut', async (t) => {
  t.match(across(Object.assign(new Error('invalid'), { name: 'ValidationError', errors: { email: 'missing' } })), { name: 'ValidationError', errors: { email: 'missing' } })
  const type = across(Object.assign(new TypeError('several'), { errors: [new RangeError('one')] }))
  t.ok(type instanceof TypeError && !(type instanceof AggregateError))
  t.match(type, { errors: [{ name: 'RangeError', message: 'one' }] })
  t.ok(across(new AggregateError([new Error('a')], 'both')) instanceof AggregateError)
  const self: Error & { errors?: unknown[] } = new Error('self')
  self.errors = Array.from({ length: 12 }, () => self)
  const before = performance.now()
  across(self)
  t.ok(performance.now() - before < 2_000)
})

t.test('a Proxy whose traps throw', async (t) => {
  const trap = (): never => { throw new Error('trap') }
  t.ok(across(new Proxy(new Error('x'), { get: trap, has: trap, ownKeys: trap, getPrototypeOf: trap })) instanceof Error)
  t.ok(across(Object.defineProperty(new Error('x'), 'cause', { get: trap })) instanceof Error)
})

t.test('what moves isn\'t what can\'t be cloned', async (t) => {
  const { port1, port2 } = new MessageChannel()
  t.equal(uncloneablePath({ port: port1, bad: () => {} }, 'payload', [port1]), 'payload.bad')
  t.equal(uncloneablePath({ a: 1 }, 'payload', [{}]), 'the transferList')
  port1.close()
  port2.close()
})

t.test('a field named __proto__ is left out, whoever wrote the message', async (t) => {
  const error = fromWire({ ...toWire(new Error('x')), fields: JSON.parse('{ "__proto__": { "polluted": 1 }, "kept": 2 }') as Record<string, unknown> }) as Error
  t.equal(Object.getPrototypeOf(error), Error.prototype)
  t.notOk(Object.hasOwn(error, '__proto__'))
  t.match(error, { kept: 2 })
})
