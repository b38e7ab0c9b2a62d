// Capacity decides who may hold a task: a bounded number, fair to keys.
import t from 'tap'
import fc from 'fast-check'
import { Capacity, type Permit } from '../../../plugins/tasks/running/capacity.ts'

/** Takes permits for a key until there are none. */
function fill (capacity: Capacity, key: string): Permit[] {
  const permits: Permit[] = []
  for (let permit = capacity.take(key); permit !== undefined; permit = capacity.take(key)) permits.push(permit)
  return permits
}

t.test('one key alone fills half of the queue beside the slots, and a key that comes later finds a place', async (t) => {
  const capacity = new Capacity({ concurrency: 64, maxQueue: 1_000 })
  const burst = fill(capacity, 'one')
  for (const permit of burst.slice(0, 64)) permit.run()
  t.equal(burst.length, 564)
  t.equal(fill(capacity, 'one').length, 0)
  t.equal(fill(capacity, 'two').length, 250)
  t.equal(fill(capacity, 'three').length, 125)
  t.ok(capacity.take('four'))
})

t.test('without a queue, one key may use all slots', async (t) => {
  const capacity = new Capacity({ concurrency: 3, maxQueue: 0 })
  t.equal(fill(capacity, 'one').length, 3)
  t.equal(capacity.take('two'), undefined)
})

t.test('a key whose tasks fail and wait for their retries leaves places to other keys', async (t) => {
  const capacity = new Capacity({ concurrency: 4, maxQueue: 20 })
  for (let round = 0; round < 20; round++) {
    const permits = fill(capacity, 'hooks')
    for (const permit of permits.slice(0, 4)) permit.run()
    for (const permit of permits) permit.wait()
  }
  t.ok(capacity.take('mail'))
})

t.test('given back twice, a permit is given back once', async (t) => {
  const capacity = new Capacity({ concurrency: 2, maxQueue: 0 })
  const [first] = fill(capacity, 'a')
  first![Symbol.dispose]()
  first![Symbol.dispose]()
  t.equal(capacity.held, 1)
})

const keys = ['a', 'b', 'c', '__proto__']
const commands = fc.array(fc.record({
  what: fc.constantFrom('take', 'take', 'take', 'run', 'wait', 'dispose' as const),
  key: fc.constantFrom(...keys),
  at: fc.nat(30)
}), { maxLength: 200 })

t.test('whatever is taken, run, tried again and given back: bounded, and no place is lost', async () => {
  fc.assert(fc.property(commands, fc.integer({ min: 1, max: 4 }), fc.nat(8), (commands, concurrency, maxQueue) => {
    const capacity = new Capacity({ concurrency, maxQueue })
    const held: Array<{ permit: Permit, isRunning: boolean }> = []
    for (const { what, key, at } of commands) {
      const one = held[at % Math.max(held.length, 1)]
      const running = held.filter(({ isRunning }) => isRunning).length
      if (what === 'take') {
        const permit = capacity.take(key)
        if (permit !== undefined) held.push({ permit, isRunning: false })
        // A key that holds nothing is refused only if there is no place at all.
        else if (!held.some((each) => each.permit.key === key) && capacity.held < concurrency + maxQueue) return false
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
      if (capacity.held > concurrency + maxQueue || capacity.held !== held.length) return false
    }
    for (const { permit } of held) permit[Symbol.dispose]()
    return capacity.held === 0
  }))
})
