import t from 'tap'
import fc from 'fast-check'
import { isDeepStrictEqual } from 'node:util'
import { copyAsJson } from '../../../plugins/tasks/named/payload.ts'

t.test('a payload that JSON would change is refused, and the error has the path', async (t) => {
  const cycle: Record<string, unknown> = { user: {} }
  ;(cycle['user'] as Record<string, unknown>)['self'] = cycle
  let deep: unknown = 1
  for (let i = 0; i < 100_000; i++) deep = [deep]
  class User {}
  for (const [payload, message] of [
    [{ user: { greet () {} } }, "can't be stored: payload.user.greet is a function"],
    [{ ids: [1, 2n] }, "can't be stored: payload.ids[1] is a bigint"],
    [cycle, "can't be stored: payload.user.self contains itself"],
    [{ at: new Date() }, "can't be stored: payload.at is a Date, not a plain object or array"],
    [{ 'first name': Symbol('x') }, 'can\'t be stored: payload["first name"] is a symbol'],
    [NaN, "can't be stored: payload is NaN"],
    [{ n: -Infinity }, "can't be stored: payload.n is -Infinity"],
    [new Map(), "can't be stored: payload is a Map, not a plain object or array"],
    [Buffer.from('x'), "can't be stored: payload is a Buffer, not a plain object or array"],
    [new User(), "can't be stored: payload is a User, not a plain object or array"],
    [{ toJSON: () => 1 }, "can't be stored: payload is an object with toJSON(), not a plain object or array"],
    [[1, undefined], "can't be stored: payload[1] is undefined"],
    // eslint-disable-next-line no-sparse-arrays -- the hole is what is tested
    [[1, , 3], "can't be stored: payload[1] is undefined"],
    [deep, "can't be stored: it is nested more than 500 deep"]
  ] as const) t.throws(() => copyAsJson(payload), { message })
})

t.test('a payload of plain values, objects and arrays passes', async (t) => {
  const shared = { x: 1 }
  for (const payload of [undefined, null, 0, '', false, [], {}, { a: undefined }, { a: shared, b: [shared, shared] }, Object.create(null)]) {
    t.doesNotThrow(() => copyAsJson(payload))
  }
})

t.test('a copy is what JSON gives back, and differs from the payload in nothing but what is absent', async (t) => {
  let copies = 0
  fc.assert(fc.property(fc.anything({ withDate: true, withBigInt: true, withMap: true, withSparseArray: true, withNullPrototype: false }), (payload) => {
    let copy: unknown
    try {
      copy = copyAsJson(payload)
    } catch {
      return true
    }
    if (payload === undefined) return copy === undefined
    copies++
    return isDeepStrictEqual(copy, JSON.parse(JSON.stringify(payload))) && isDeepStrictEqual(copy, normal(payload))
  }))
  t.ok(copies > 0)
})

t.test('a property named __proto__ is copied as a property', async (t) => {
  const copy = copyAsJson(JSON.parse('{ "__proto__": { "admin": true } }')) as Record<string, unknown>
  t.ok(Object.hasOwn(copy, '__proto__'))
  t.equal(copy['admin'], undefined)
})

t.test('objects that are shared are not written out without end', async (t) => {
  let payload: unknown = 1
  for (let level = 0; level < 40; level++) payload = [payload, payload]
  t.throws(() => copyAsJson(payload), { message: /holds more than \d+ values/ })
})

/** Without what is absent on the other side: undefined properties, and the sign of zero. */
function normal (value: unknown): unknown {
  if (typeof value === 'number') return value + 0
  if (Array.isArray(value)) return value.map(normal)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined).map(([key, each]) => [key, normal(each)]))
}
