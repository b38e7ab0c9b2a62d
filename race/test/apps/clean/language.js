/* eslint no-labels: off, no-unreachable-loop: off, no-return-assign: off -- the app shows what the language has */
// What the language has beside assignments: accessors, private methods, computed names, closures over let, new.target, tagged templates,
// destructuring with defaults, logical assignment, optional calls, spread, delete, in, symbols, super, arguments, comma, labels, switch.
import assert from 'node:assert/strict'
import { isMap, isSet } from 'node:util/types'
import { inspect, isDeepStrictEqual } from 'node:util'
import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'

const hidden = Symbol('hidden')
let last
const closures = []
for (let i = 0; i < 3; i++) closures.push(() => i++)

class Base {
  static #instances = 0
  static get instances () { return Base.#instances }
  #value = 0
  constructor () {
    Base.#instances += 1
    this.kind = new.target.name
  }

  get value () { return this.#value }
  set value (to) { this.#value = to }
  #double () { return this.#value * 2 }
  twice () { return this.#double() }
  static from ({ value = 5, ...rest } = {}) { return Object.assign(new this(), rest, { value }) }
}

class Child extends Base {
  ['comp' + 'uted'] = 7;
  [hidden] = new Map()
  handler = () => this.computed
  get value () { return super.value + 1 }
  set value (to) { super.value = to }
  twice () { return super.twice() + 1 }
}

class Registry extends Map {
  #misses = 0
  get (key) {
    if (!this.has(key)) this.#misses++
    return super.get(key)
  }

  get misses () { return this.#misses }
}

const registry = new Registry([['a', 1]])
const settings = { nested: { list: [3, 1, 2], at: new Date(0), url: new URL('http://localhost/'), bytes: new Uint8Array(2) }, get size () { return this.nested.list.length } }
const tag = (strings, ...values) => strings.raw.join('|') + values.join(',')

function sum () {
  let total = 0
  for (const each of arguments) total += each
  return total
}

function check () {
  const child = Child.from({ value: 3, extra: { deep: [1] } })
  assert.deepEqual([child.value, child.twice(), child.kind, child.computed, child.handler(), child.extra.deep], [4, 7, 'Child', 7, 7, [1]])
  assert.ok(child instanceof Base && child[hidden] instanceof Map && isMap(child[hidden]))
  assert.ok(Base.instances >= 1)
  registry.set('b', (registry.get('b') ?? 0) + 1)
  assert.ok(registry.misses >= 1 && registry instanceof Map && registry.size === 2)

  const { nested: { list: [first, ...others], at: { constructor: Type } }, missing = 'none' } = settings
  assert.deepEqual([first, others, Type === Date, missing], [3, [1, 2], true, 'none'])
  assert.deepEqual([...settings.nested.list].sort(), [1, 2, 3])
  assert.equal(settings.nested.at.getTime(), 0)
  assert.equal(settings.nested.url.host, 'localhost')
  assert.equal(settings.nested.bytes.byteLength, 2)
  assert.equal(settings.size, 3)
  assert.deepEqual(structuredClone(settings.nested.list), [3, 1, 2])
  assert.deepEqual(JSON.parse(JSON.stringify({ ...settings.nested, at: 0 })).list, [3, 1, 2])
  assert.ok(isDeepStrictEqual(settings.nested.list, [3, 1, 2]))
  assert.match(inspect(settings), /nested/)
  assert.equal(Object.prototype.toString.call(settings.nested.list), '[object Array]')
  assert.equal(Array.prototype.concat.call([], settings.nested.list, 4).length, 4)
  assert.equal(Map.prototype.get.call(child[hidden], 'x'), undefined)
  assert.ok(isSet(new Set()) && Array.isArray(settings.nested.list))

  assert.equal(tag`a${1}b${2}c`, 'a|b|c1,2')
  assert.equal(sum(1, 2, 3), 6)
  assert.equal(sum.name + sum.length, 'sum0')
  assert.deepEqual(closures.map((closure) => typeof closure()), ['number', 'number', 'number'])

  const local = { a: 1, b: undefined, f: undefined }
  local.b ??= 2
  local.a &&= 3
  local.c ||= local.f?.() ?? 4;
  [local.a, local.b] = [local.b, local.a];
  ({ c: local.d = 9, ...local.rest } = { c: undefined, x: 1 })
  delete local.c
  assert.deepEqual({ ...local, f: 'c' in local }, { a: 2, b: 3, f: false, d: 9, rest: { x: 1 } })

  outer: for (const i of [1, 2, 3]) {
    switch (i) {
      case 2: continue outer
      default: for (;;) { if (i === 3) break outer; else break }
    }
  }
  return (last = child, last.value)
}

export const requests = ['/', '/', '/']

export function build () {
  const app = Fastify()
  app.get('/', async () => {
    const before = check()
    await wait(1)
    return { before, after: check(), same: last instanceof Child }
  })
  return app
}
