/* eslint no-var: off, no-redeclare: off, no-unreachable-loop: off, no-return-assign: off -- the app shows what the language has */
// What depends on a value being itself: keys of Maps and Sets, switch, messages to threads, iterators that go on after a break, names of functions,
// defaults of parameters that closures change, variables that are declared twice, calls in parentheses.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { deserialize, serialize } from 'node:v8'
import { BroadcastChannel, MessageChannel, Worker } from 'node:worker_threads'
import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'

const READER = { role: 'reader' }
const WRITER = { role: 'writer' }
const current = { user: null, handler: null }
const sessions = new Map()
const groups = new Map()
const order = []
const notes = new WeakMap()
const greeter = { name: 'ann', greet () { return this?.name } }
let onSave
let Model

function keys () {
  const session = { id: 1 }
  sessions.set('a', session)
  const local = new Map([[session, 'a']])
  const seen = new Set([session])
  for (const value of sessions.values()) {
    assert.equal(local.get(value), 'a')
    seen.add(value)
    notes.set(value, 'noted')
  }
  assert.equal(seen.size, 1)
  assert.equal(notes.get(session), 'noted')
  assert.ok(Object.is(sessions.get('a'), session))
  const swapped = new Map([[sessions.get('a'), 'b']])
  assert.equal(swapped.get(session), 'b')
  assert.ok(swapped.delete(session) && swapped.size === 0)
}

function lists () {
  const user = { role: 'guest' }
  const local = [user]
  current.user = user
  const seen = current.user
  assert.ok(local.includes(seen) && [seen].includes(user))
  assert.equal(local.indexOf(seen), 0)
  assert.equal([seen, 1].lastIndexOf(user, -1), 0)
  assert.ok(!local.includes({ role: 'guest' }) && !local.includes())
  assert.equal(seen, user)
  assert.strictEqual(user, seen)
  assert.throws(() => assert.notEqual(seen, user), { code: 'ERR_ASSERTION' })
  assert.throws(() => assert.equal(1), { code: 'ERR_MISSING_ARGS' })
  assert.equal([].includes.name + [].includes.length, 'includes1')
}

const heard = []
const shelf = [1, 2]
const observed = new Proxy(shelf, { set (target, key, value) { heard.push(key); target[key] = value; return true } })

class Store {
  items = []
  byId = new Map()
  add (item) {
    this.items.push(item)
    this.byId.set(item.id, item)
    return this
  }
}

function methods () {
  shelf.length = 2
  observed.push(3)
  assert.deepEqual(heard.splice(0), ['2', 'length'])
  order.splice(0, order.length, 1, 2, 3)
  const other = [9, 8]
  order.push.apply(other, [7])
  assert.deepEqual([other, order.length], [[9, 8, 7], 3])
  assert.deepEqual(order.slice.call(other, 1), [8, 7])
  assert.deepEqual([...order[Symbol.iterator].call(other)], [9, 8, 7])
  const derived = Object.create(order)
  derived.push(4)
  assert.deepEqual([order.length, derived[3]], [3, 4])
  assert.deepEqual([order.push.name, order.push.length, order.forEach.name], ['push', 1, 'forEach'])
  const mine = new Map()
  sessions.set.call(mine, 'k', 'v')
  assert.deepEqual([mine.get('k'), sessions.has('k'), sessions.set.name, sessions.set.length], ['v', false, 'set', 2])
  const { get } = sessions
  assert.throws(() => get('k'), TypeError)
  const clone = structuredClone({ store: new Store().add({ id: 1 }), list: new Map([['a', order]]) })
  assert.deepEqual([clone.store.items, clone.store.byId.get(1), clone.list.get('a').length], [[{ id: 1 }], { id: 1 }, 3])
}

function switches () {
  current.user = READER
  switch (current.user) {
    case WRITER: return 'writer'
    case READER: return 'reader'
    default: return 'none'
  }
}

function iterators () {
  order.splice(0, order.length, 1, 2, 3)
  const left = order[Symbol.iterator]()
  for (const first of left) { assert.equal(first, 1); break }
  assert.deepEqual([...left], [2, 3])
  assert.deepEqual(left.next(), { value: undefined, done: true })
  const entries = new Map([['a', { n: 1 }], ['b', { n: 2 }]])
  groups.set('entries', entries)
  const [key, ...others] = groups.get('entries').keys()
  assert.deepEqual([key, others], ['a', ['b']])
  const values = groups.get('entries').values()
  const [one] = values
  assert.equal(one.n, 1)
  order.forEach((_each, _index, all) => assert.ok(Object.is(all, order)))
  assert.equal(order.reduce((total, each, _index, all) => total + each * all.length, 0), 18)
}

function functions () {
  onSave = () => 1
  Model = class {}
  assert.deepEqual([onSave.name, Model.name], ['onSave', 'Model'])
  const count = (n, double = n * 2, options = { n }) => {
    const step = () => n++
    step()
    return [n, double, options.n]
  }
  assert.deepEqual(count(1), [2, 2, 1])
  function again (value) {
    var value
    var total = 1
    var total = 2
    const add = () => { total += value; value++ }
    add()
    return [value, total]
  }
  assert.deepEqual(again(1), [2, 3])
  current.handler = greeter
  assert.deepEqual([(greeter.greet)(), (current.handler.greet)(), current.handler?.greet()], ['ann', 'ann', 'ann'])
}

async function messages () {
  sessions.set('a', { id: 1, tags: ['x'] })
  order.splice(0, order.length, { id: 2 })
  assert.deepEqual(deserialize(serialize({ all: order })), { all: [{ id: 2 }] })
  const { port1, port2 } = new MessageChannel()
  port1.postMessage({ session: sessions.get('a') })
  assert.deepEqual((await once(port2, 'message'))[0], { session: { id: 1, tags: ['x'] } })
  port1.close()
  const [one, other] = [new BroadcastChannel('identity'), new BroadcastChannel('identity')]
  const heard = new Promise((resolve) => { other.onmessage = ({ data }) => resolve(data) })
  one.postMessage(order)
  assert.deepEqual(await heard, [{ id: 2 }])
  one.close()
  other.close()
  const worker = new Worker('const { parentPort, workerData } = require("node:worker_threads"); parentPort.postMessage(workerData)', { eval: true, workerData: order })
  assert.deepEqual((await once(worker, 'message'))[0], [{ id: 2 }])
  await worker.terminate()
}

await messages()

export const requests = ['/', '/', '/']

export function build () {
  const app = Fastify()
  app.get('/', async () => {
    keys()
    lists()
    methods()
    iterators()
    functions()
    const before = switches()
    await wait(1)
    return before
  })
  return app
}
