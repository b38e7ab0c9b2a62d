import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import fc from 'fast-check'
import { MemoryStore } from '../../../plugins/limiter/stores/memory-store.ts'
import { addressKey } from '../../../plugins/shared/address-key.ts'
import type { Reserved } from '../../../plugins/limiter/stores/bucket.ts'
import type { Store } from '../../../plugins/limiter/stores/store.ts'
import { contract, charge, NEVER } from './contract.ts'

function manual (): { now (): number, time: number } {
  return { time: 1e6 + 0.123, now () { return this.time } }
}

t.test('the contract', async (t) => {
  contract(t, async () => {
    const clock = manual()
    return { store: new MemoryStore(clock, 1000), pass: async (ms) => { clock.time += ms } }
  })
})

t.test('a bucket is forgotten when it is full again, and not before', async (t) => {
  const clock = manual()
  const store = new MemoryStore(clock, 1000)
  const ask = (key: string, cost = 1) => store.take([charge({ key, rate: 1, burst: 10, cost })], 0)
  ask('slow', 10)
  ask('quick')
  t.equal(store.size, 2)
  clock.time += 990
  ask('other', 0)
  t.equal(store.size, 2)
  clock.time += 30
  ask('other', 0)
  t.equal(store.size, 1, 'the one that took a token is full after a second')
  clock.time += 8960
  ask('other', 0)
  t.equal(store.size, 1, 'the one that took ten isn\'t after 9.98 s')
  clock.time += 40
  ask('other', 0)
  t.equal(store.size, 0)
})

t.test('whatever happens, buckets that are remembered are those that aren\'t full', async () => {
  const step = fc.record({ after: fc.integer({ min: 0, max: 30_000 }), key: fc.integer({ min: 0, max: 8 }), cost: fc.integer({ min: 1, max: 10 }) })
  const shape = { rate: 0.7, burst: 10 }
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const clock = manual()
    const store = new MemoryStore(clock, 1000)
    for (const { after, key, cost } of steps) {
      clock.time += after
      store.take([charge({ ...shape, key: String(key), cost })], 0)
    }
    // Longer than the wheel's tick, with as many operations as it takes to sweep them all.
    const sweep = (): void => {
      clock.time += 8
      for (let i = 0; i < 20; i++) store.take([charge({ ...shape, key: 'probe', cost: 0 })], 0)
    }
    sweep()
    let partial = 0
    for (let key = 0; key <= 8; key++) {
      if (store.take([charge({ ...shape, key: String(key), cost: 0 })], 0).balances[0]!.tokens < shape.burst) partial++
    }
    const remembered = store.size
    // A bucket that became full within the last tick is forgotten by the next one.
    sweep()
    return remembered >= partial && store.size <= partial
  }))
})

t.test('a limited key stays limited while 1,000,000 others pass by', async (t) => {
  const clock = manual()
  const store = new MemoryStore(clock, 10_000)
  const victim = charge({ key: 'victim', rate: 0.001, burst: 2 })
  store.take([victim], 0)
  store.take([victim], 0)
  let passed = 0
  for (let i = 0; i < 1_000_000; i++) {
    if (store.take([charge({ key: `other ${i}`, rate: 0.001, burst: 2 })], 0).granted) passed++
  }
  t.notOk(store.take([victim], 0).granted)
  t.equal(store.size, 10_000, 'bounded')
  t.equal(passed, 9_999 + 2, 'each of the first has a bucket, the rest share one')
})

t.test('a full table has room for a new key as soon as one of the old is full again', async (t) => {
  const clock = manual()
  const store = new MemoryStore(clock, 3)
  const ask = (key: string, cost = 1) => store.take([charge({ key, rate: 1, burst: 5, cost })], 0)
  ask('a', 5)
  ask('b', 1)
  ask('c', 5)
  t.ok(ask('d', 5).granted, 'from the overflow bucket')
  t.notOk(ask('e').granted, 'which all new keys share')
  clock.time += 1010
  t.ok(ask('f').granted, 'b is full again: its place is free')
  t.notOk(ask('f').granted, 'but f starts with what is left in the shared bucket: it may be who emptied it')
  t.ok(ask('g').granted, 'which it no longer takes from')
  t.notOk(ask('a', 2).granted, 'a is still limited')
  t.equal(store.size, 3)
})

t.test('what the shared bucket granted is not given back to a bucket of the key\'s own', async (t) => {
  const clock = manual()
  const store = new MemoryStore(clock, 1)
  const ask = (key: string, cost: number, maxWait = 0) => store.take([charge({ key, rate: 1, burst: 5, cost })], maxWait)
  ask('other', 2)
  ask('key', 5)
  const reserved = ask('key', 3, 10_000)
  t.match([reserved.granted, reserved.balances[0]!.wait], [true, 3_000])
  clock.time += 2_010
  t.notOk(ask('key', 1).granted)
  t.ok(ask('key', 1, 10_000).granted, 'the other has been forgotten: a bucket of its own')
  reserved.store?.giveBack(charge({ key: 'key', rate: 1, burst: 5, cost: 3 }), { at: reserved.at, wait: 3_000 })
  t.notOk(ask('key', 1).granted)
})

t.test('over any time a key acts at most burst + rate·t, also if it comes and goes between the shared bucket and one of its own', async () => {
  const step = fc.record({
    after: fc.integer({ min: 0, max: 3000 }),
    key: fc.nat({ max: 4 }),
    cost: fc.integer({ min: 1, max: 5 }),
    maxWait: fc.constantFrom(0, 0, 3_000, 20_000),
    cancel: fc.option(fc.nat({ max: 9 }))
  })
  const shape = { rate: 1, burst: 5 }
  fc.assert(fc.property(fc.integer({ min: 1, max: 3 }), fc.array(step, { minLength: 1, maxLength: 40 }), (maxKeys, steps) => {
    const clock = manual()
    const store = new MemoryStore(clock, maxKeys)
    const held: Array<Reserved & { key: number, cost: number, actsAt: number, holder: Store | undefined }> = []
    for (const { after, key, cost, maxWait, cancel } of steps) {
      clock.time += after
      const victim = cancel === null ? undefined : held[cancel]
      if (victim === undefined) {
        const { granted, at, balances: [balance], store: holder } = store.take([charge({ ...shape, key: String(key), cost })], maxWait)
        const { wait } = balance!
        if (granted) held.push({ key, cost, at, wait, actsAt: at + wait, holder })
      } else if (victim.actsAt >= clock.time && victim.holder !== undefined) {
        victim.holder.giveBack(charge({ ...shape, key: String(victim.key), cost: victim.cost }), victim)
        held.splice(held.indexOf(victim), 1)
      }
    }
    held.sort((a, b) => a.actsAt - b.actsAt)
    return held.every((first, index) => {
      let acted = 0
      return held.slice(index).every(({ key, cost, actsAt }) => {
        if (key === first.key) acted += cost
        return acted <= shape.burst + shape.rate * (actsAt - first.actsAt) / 1000 + 1e-5
      })
    })
  }), { numRuns: 1000 })
})

t.test('room is found behind many buckets that have been used again since', async (t) => {
  const clock = manual()
  const store = new MemoryStore(clock, 100)
  const ask = (key: string, cost = 1) => store.take([charge({ key, rate: 1, burst: 5, cost })], 0)
  for (let i = 0; i < 99; i++) ask(String(i))
  ask('once')
  for (let i = 0; i < 99; i++) ask(String(i), 4)
  clock.time += 1010
  t.ok(ask('new', 5).granted)
  t.ok(ask('newer', 5).granted, 'from the overflow bucket, which is still full: the first had one of its own')
})

t.test('policies don\'t take each other\'s room', async (t) => {
  const store = new MemoryStore(manual(), 2)
  for (let i = 0; i < 5; i++) store.take([charge({ policy: 'flooded', key: String(i) })], 0)
  t.ok(store.take([charge({ policy: 'calm', key: 'a', burst: 1 })], 0).granted)
  t.ok(store.take([charge({ policy: 'calm', key: 'b', burst: 1 })], 0).granted)
})

t.test('no stop of the world: a million buckets that are full at one instant are forgotten a few at a time', async (t) => {
  const clock = manual()
  const store = new MemoryStore(clock, 1_000_000)
  for (let i = 0; i < 200_000; i++) store.take([charge({ key: String(i), rate: 1, burst: 1 })], 0)
  t.equal(store.size, 200_000)
  clock.time += 10_000
  store.take([charge({ key: 'next', rate: 1, burst: 1 })], 0)
  t.ok(store.size > 199_900, 'an operation sweeps a handful')
  for (let i = 0; i < 100_000; i++) store.take([charge({ key: 'next', rate: NEVER, burst: 1 })], 0)
  t.ok(store.size <= 1, 'and soon all are gone')
})

t.test('refusals are forgotten when the bucket is full again, although nobody has looked at the bucket since', (t) => {
  const clock = manual()
  const store = new MemoryStore(clock, 1000)
  const login = charge({ key: 'login', rate: 1, burst: 1, lockout: { after: 2, duration: 60_000 } })
  const take = () => store.take([login], 0).balances[0]!.wait
  for (let i = 0; i < 100; i++) store.take([charge({ key: String(i) })], 0)
  t.same([take(), take()], [0, 1_000])
  clock.time += 1_000
  t.same([take(), take(), take()], [0, 1_000, 60_000])
  t.end()
})

t.test('keys that share a bucket are limited, and not locked out for each other', (t) => {
  const store = new MemoryStore(manual(), 1)
  const ask = (key: string) => store.take([charge({ key, rate: 1, burst: 1, lockout: { after: 2, duration: 60_000 } })], 0).balances[0]!.wait
  t.same(['own', 'a', 'b', 'c', 'd'].map(ask), [0, 0, 1_000, 1_000, 1_000])
  t.same(['own', 'own'].map(ask), [1_000, 60_000])
  t.end()
})

t.test('a clock that steps back or far ahead', async (t) => {
  const clock = manual()
  const store = new MemoryStore(clock, 100)
  const ask = (key: string) => store.take([charge({ key, rate: 1, burst: 2 })], 0).granted
  t.same([ask('a'), ask('a'), ask('a')], [true, true, false])
  clock.time -= 1e5
  t.notOk(ask('a'), 'back: nothing extra')
  clock.time += 1e5
  t.notOk(ask('a'), 'and again: no time was counted twice')
  clock.time += 1e13
  t.same([ask('a'), ask('a'), ask('a')], [true, true, false])
  t.equal(store.size, 1)
})

t.test('a key that was cut out of a longer text doesn\'t keep the text', async (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const store = new MemoryStore(manual(), 10_000)
  const padding = 'x'.repeat(50_000)
  collect()
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < 2000; i++) {
    const [key, mapped, address] = `a key of one client ${i},::ffff:203.100.${100 + (i >> 8)}.${100 + (i & 127)},2001:db8::ffff:${i.toString(16)},${padding}`.split(',') as [string, string, string]
    for (const stored of [key, addressKey(mapped), addressKey(address)]) store.take([charge({ key: stored, rate: NEVER, burst: 10 })], 0)
  }
  collect()
  const grown = process.memoryUsage().heapUsed - before
  t.ok(grown < 20e6, `${grown} bytes, for 100 MB of texts`)
  t.ok(store.size > 2000)
})

t.test('nothing is given back of what the shared bucket has granted, nor to a bucket that is forgotten', async (t) => {
  const clock = manual()
  const store = new MemoryStore(clock, 1)
  const ask = (key: string, cost = 1) => store.take([charge({ key, burst: 2, cost })], 0)
  t.equal(ask('own').store, store)
  t.equal(ask('shares', 2).store, undefined, 'the decision has no store to give tokens back to')
  t.equal(store.take([charge({ key: 'own', cost: 0 }), charge({ key: 'other', cost: 0 })], 0).store, undefined)
  const taken = { at: clock.time, tokens: 0 }
  store.refund(charge({ key: 'shares', burst: 2, cost: 2 }), taken)
  t.notOk(ask('shares').granted)
  store.refund(charge({ key: 'unknown', policy: 'another', burst: 2 }), taken)
  t.equal(store.size, 1)
})

t.test('a bucket that got all its tokens back is forgotten at once, as one that is full', async (t) => {
  const clock = manual()
  const store = new MemoryStore(clock, 10)
  const ten = charge({ rate: 1, burst: 10, cost: 10 })
  t.equal(store.take([ten], 0).granted, true)
  store.refund(ten, { at: clock.time, tokens: 0 })
  clock.time += 20
  store.take([charge({ key: 'other', cost: 0 })], 0)
  t.equal(store.size, 0)
})

t.test('a key whose requests differ in burst is remembered until its larger bucket is full', async (t) => {
  const clock = manual()
  const store = new MemoryStore(clock, 10)
  const sizeAfter = (ms: number): number => {
    clock.time += ms
    store.take([charge({ key: 'other', cost: 0 })], 0)
    return store.size
  }
  store.take([charge({ rate: 1, burst: 10, cost: 10 })], 0)
  clock.time += 1_000
  t.equal(store.take([charge({ rate: 1, burst: 1 })], 0).granted, true)
  t.equal(sizeAfter(9_500), 1, 'eleven seconds are owed, of which ten and a half have passed')
  t.equal(sizeAfter(600), 0)
})

t.test('a new key that starts with what the shared bucket holds is remembered until its own is full', async (t) => {
  const clock = manual()
  const store = new MemoryStore(clock, 1)
  const ask = (key: string, cost = 1) => store.take([charge({ key, rate: 1, burst: 5, cost })], 0)
  ask('own')
  ask('shares', 5)
  clock.time += 1_010
  t.ok(ask('new').granted)
  clock.time += 2_000
  ask('new', 0)
  t.equal(store.size, 1)
})

t.test('a clock that gives NaN is refused, since every charge would be granted', async (t) => {
  t.throws(() => new MemoryStore({ now: () => NaN }, 1).take([charge()], 0), { code: 'FC_ERR_LIMIT_INVALID' })
})

t.test('a key that is locked out has no tokens, and one that was refused has those of its bucket', async (t) => {
  const store = new MemoryStore(manual(), 10)
  const ask = (cost: number) => {
    const { balances: [balance] } = store.take([charge({ burst: 3, cost, lockout: { after: 2, duration: 60_000 } })], 0)
    return [Math.round(balance!.tokens), balance!.lockedOut]
  }
  t.same([ask(1), ask(3), ask(3), ask(0), ask(1)], [[2, false], [2, false], [2, true], [0, true], [0, true]])
})
