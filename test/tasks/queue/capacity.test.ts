// Capacity decides who may hold a task: a bounded number, fair to keys.
import t from 'tap'
import fc from 'fast-check'
import { Capacity, type Permit } from '../../../plugins/tasks/queue/capacity.ts'

const never = new AbortController().signal

/** Takes permits for a key until there are none. */
function fill (capacity: Capacity, key: string): Permit[] {
  const permits: Permit[] = []
  for (let permit = capacity.take(key); permit !== undefined; permit = capacity.take(key)) permits.push(permit)
  return permits
}

t.test('one key alone fills half of the queue beside the slots, and a key that comes later finds a place', async (t) => {
  const capacity = new Capacity({ concurrency: 64, maxQueue: 1_000, maxWaiting: 0 })
  const burst = fill(capacity, 'one')
  for (const permit of burst.slice(0, 64)) permit.run()
  t.equal(burst.length, 564)
  t.equal(fill(capacity, 'one').length, 0)
  t.equal(fill(capacity, 'two').length, 250)
  t.equal(fill(capacity, 'three').length, 125)
  t.ok(capacity.take('four'))
})

t.test('the slots are everybody\'s: without a queue, one key may use them all', async (t) => {
  const capacity = new Capacity({ concurrency: 3, maxQueue: 0, maxWaiting: 0 })
  t.equal(fill(capacity, 'one').length, 3)
  t.equal(capacity.take('two'), undefined)
})

t.test('a key whose tasks fail and wait for their retries keeps others no place either', async (t) => {
  const capacity = new Capacity({ concurrency: 4, maxQueue: 20, maxWaiting: 0 })
  for (let round = 0; round < 20; round++) {
    const permits = fill(capacity, 'hooks')
    for (const permit of permits.slice(0, 4)) permit.run()
    for (const permit of permits) permit.wait()
  }
  t.ok(capacity.take('mail'))
})

t.test('whoever waits gets the place that comes free, keys in turn, and nobody overtakes them', async (t) => {
  const capacity = new Capacity({ concurrency: 1, maxQueue: 0, maxWaiting: 16 })
  const held = capacity.take('a')
  const order: string[] = []
  const wait = (key: string, name: string): Promise<unknown> => capacity.wait(key, never)!.then((permit) => {
    order.push(name)
    permit[Symbol.dispose]()
  })
  const waits = [wait('a', 'a1'), wait('a', 'a2'), wait('a', 'a3'), wait('b', 'b1')]
  held![Symbol.dispose]()
  t.equal(capacity.take('c'), undefined, 'the place is the first waiter\'s')
  await Promise.all(waits)
  t.same(order, ['a1', 'b1', 'a2', 'a3'])
  t.equal(capacity.held, 0)
})

t.test('one key can\'t take all places for callers that wait', async (t) => {
  const capacity = new Capacity({ concurrency: 1, maxQueue: 0, maxWaiting: 10 })
  capacity.take('one')
  let waiting = 0
  while (waiting < 100 && capacity.wait('one', never) !== undefined) waiting++
  t.equal(waiting, 5)
  t.ok(capacity.wait('two', never))
})

t.test('whoever stops waiting takes no place, and all are refused at the end', async (t) => {
  const capacity = new Capacity({ concurrency: 1, maxQueue: 0, maxWaiting: 8 })
  const held = capacity.take('a')!
  const controller = new AbortController()
  const left = capacity.wait('a', controller.signal)!
  const stays = capacity.wait('a', never)!
  controller.abort(new Error('enough'))
  await t.rejects(left, { message: 'enough' })
  t.equal(capacity.waiters, 1)
  held[Symbol.dispose]()
  held[Symbol.dispose]()
  await stays
  t.equal(capacity.held, 1, 'given back twice, a permit is given back once')
  const refused = [capacity.wait('a', never)!, capacity.wait('b', never)!]
  capacity.refuseAll(new Error('closed'))
  for (const each of refused) await t.rejects(each, { message: 'closed' })
})

const keys = ['a', 'b', 'c', '__proto__']
const commands = fc.array(fc.record({
  what: fc.constantFrom('take', 'take', 'take', 'run', 'wait', 'dispose', 'enter' as const),
  key: fc.constantFrom(...keys),
  at: fc.nat(30)
}), { maxLength: 200 })

t.test('whatever is taken, run, tried again and given back: bounded, no place is lost, and a waiter never misses one', async () => {
  await fc.assert(fc.asyncProperty(commands, fc.integer({ min: 1, max: 4 }), fc.nat(8), async (commands, concurrency, maxQueue) => {
    const capacity = new Capacity({ concurrency, maxQueue, maxWaiting: 6 })
    const held: Array<{ permit: Permit, isRunning: boolean }> = []
    let entered = 0
    let waiting = 0
    for (const { what, key, at } of commands) {
      const one = held[at % Math.max(held.length, 1)]
      const running = held.filter(({ isRunning }) => isRunning).length
      if (what === 'take') {
        const permit = capacity.take(key)
        if (permit !== undefined) held.push({ permit, isRunning: false })
        // A key that holds nothing is refused only if there is no place at all.
        else if (!held.some((each) => each.permit.key === key) && capacity.held < concurrency + maxQueue) return false
      } else if (what === 'enter') {
        const wait = capacity.wait(key, never)
        if (wait !== undefined) {
          waiting++
          void wait.then((permit) => { entered++; held.push({ permit, isRunning: false }) })
        }
      } else if (one !== undefined) {
        if (what === 'run' && (one.isRunning || running < concurrency)) {
          one.permit.run()
          one.isRunning = true
        } else if (what === 'wait') {
          one.permit.wait()
          one.isRunning = false
        } else if (what === 'dispose') {
          one.permit[Symbol.dispose]()
          held.splice(held.indexOf(one), 1)
        }
      }
      await Promise.resolve()
      await Promise.resolve()
      if (capacity.held > concurrency + maxQueue || capacity.held !== held.length || capacity.waiters !== waiting - entered) return false
    }
    for (let one = held.pop(); one !== undefined; one = held.pop()) {
      one.permit[Symbol.dispose]()
      await Promise.resolve()
      await Promise.resolve()
    }
    return capacity.held === 0 && capacity.waiters === 0
  }))
})
