// What every store must do, whatever it is made of.
import type { Test } from 'tap'
import { takeOne, type Charge, type Store } from '../../../plugins/limiter/stores/store.ts'

export interface Subject {
  store: Store
  /** Lets time pass for the store. */
  pass (ms: number): Promise<void>
}

/** So slow that nothing flows back during a test. */
export const NEVER = 1e-6

export function charge (part: Partial<Charge> = {}): Charge {
  return { policy: 'p', key: 'k', rate: NEVER, burst: 3, cost: 1, onStoreError: 'closed', ...part }
}

export function contract (t: Test, create: (t: Test) => Promise<Subject>): void {
  t.test('grants the burst, then refuses and says how long', async (t) => {
    const { store } = await create(t)
    for (let left = 2; left >= 0; left--) {
      const { granted, balances } = await store.take([charge()], 0)
      t.ok(granted)
      t.ok(Math.abs(balances[0]!.tokens - left) < 1e-3, `${left} left`)
      t.equal(balances[0]!.wait, 0)
    }
    const { granted, balances } = await store.take([charge({ cost: 2 })], 0)
    t.notOk(granted)
    t.ok(Math.abs(balances[0]!.wait / (2 * 1000 / NEVER) - 1) < 0.001)
  })

  t.test('a refused charge takes nothing, and neither do those beside it', async (t) => {
    const { store } = await create(t)
    const a = charge({ policy: 'a', burst: 1 })
    const b = charge({ policy: 'b', burst: 5 })
    const c = charge({ policy: 'c', burst: 5 })
    t.ok((await store.take([b, a, c], 0)).granted)
    for (let i = 0; i < 3; i++) {
      const refused = await store.take([b, a, c], 0)
      t.notOk(refused.granted)
      t.same(refused.balances.map(({ wait }) => wait > 0), [false, true, false], 'only the empty one waits')
    }
    t.same((await store.take([{ ...b, cost: 4 }, { ...c, cost: 4 }], 0)).granted, true)
  })

  t.test('cost 0 only looks', async (t) => {
    const { store } = await create(t)
    for (let i = 0; i < 5; i++) t.equal((await store.take([charge({ cost: 0 })], 0)).balances[0]!.tokens, 3)
    await store.take([charge({ cost: 2 })], 0)
    t.ok(Math.abs((await store.take([charge({ cost: 0 })], 0)).balances[0]!.tokens - 1) < 1e-3)
  })

  t.test('500 at once: exactly the burst passes', async (t) => {
    const { store } = await create(t)
    const decisions = await Promise.all(Array.from({ length: 500 }, () => store.take([charge({ burst: 100 })], 0)))
    t.equal(decisions.filter(({ granted }) => granted).length, 100)
  })

  t.test('tokens flow back at the rate', async (t) => {
    const { store, pass } = await create(t)
    // A machine may stall for a second between the two.
    const slow = charge({ rate: 0.5, burst: 1 })
    t.ok((await store.take([slow], 0)).granted)
    const refused = await store.take([slow], 0)
    t.notOk(refused.granted)
    t.ok(refused.balances[0]!.wait > 0 && refused.balances[0]!.wait <= 2_000, 'two seconds')
    await pass(refused.balances[0]!.wait)
    t.ok((await store.take([slow], 0)).granted, 'who waits as long as it was told is let through')
  })

  t.test('reservations queue up behind each other, and no further than maxWait', async (t) => {
    const { store } = await create(t)
    const slow = charge({ rate: 0.1, burst: 1 })
    await store.take([slow], 0)
    const waits: number[] = []
    for (let i = 0; i < 3; i++) waits.push((await store.take([slow], 31_000)).balances[0]!.wait)
    for (const [index, wait] of waits.entries()) t.ok(Math.abs(wait - (index + 1) * 10_000) < 2_000, `number ${index} waits ${wait} ms`)
    const tooLate = await store.take([slow], 31_000)
    t.notOk(tooLate.granted)
    t.ok(tooLate.balances[0]!.tokens > -3.1, 'and took nothing')
  })

  t.test('a reservation given back makes room, but not for what was promised behind it', async (t) => {
    const { store } = await create(t)
    const slow = charge({ rate: 0.1, burst: 1 })
    await store.take([slow], 0)
    const first = await takeOne(store, slow, 1e6)
    const second = await store.take([slow], 1e6)
    await store.giveBack(slow, first)
    const third = await takeOne(store, slow, 1e6)
    t.ok(Math.abs(third.wait - 30_000) < 2_000, 'the second still acts at 20 s')
    await store.giveBack(slow, third)
    t.ok(Math.abs((await store.take([slow], 1e6)).balances[0]!.wait - 30_000) < 2_000, 'the last place is free again')
    t.ok(second.granted)
    await store.giveBack(slow, { at: first.at, wait: -1 })
    t.ok((await store.take([{ ...slow, cost: 0 }], 0)).balances[0]!.tokens < -2.5, 'what has acted gives nothing back')
    await store.giveBack(charge({ key: 'unknown' }), { at: first.at, wait: 1e6 })
    t.equal((await store.take([charge({ key: 'unknown', cost: 0 })], 0)).balances[0]!.tokens, 3)
  })

  t.test('a rate so small that the wait has no end', async (t) => {
    const { store } = await create(t)
    const never = charge({ rate: 1e-320, burst: 1 })
    t.ok((await store.take([never], 0)).granted)
    const { granted, balances } = await store.take([never], 0)
    t.notOk(granted)
    t.equal(balances[0]!.wait, Infinity)
  })

  t.test('every key has its own bucket, whatever it looks like', async (t) => {
    const { store } = await create(t)
    const names: Array<[string, string]> = [
      ['p', '__proto__'], ['p', 'constructor'], ['p', ''], ['p', ' '], ['p', '{x}'], ['p', 'a\r\nb'], ['p', '\0'], ['p', '日本'], ['p', '0'],
      ['a:b', 'c'], ['a', 'b:c'], ['a"b', 'c'], ['a b', 'c'], ['__proto__', 'k']
    ]
    for (const [policy, key] of names) t.ok((await store.take([charge({ policy, key, burst: 1 })], 0)).granted, JSON.stringify([policy, key, 'first']))
    for (const [policy, key] of names) t.notOk((await store.take([charge({ policy, key, burst: 1 })], 0)).granted, JSON.stringify([policy, key, 'second']))
  })

  t.test('a key whose requests differ in burst isn\'t freed by the smaller bucket, which is full sooner', async (t) => {
    const { store, pass } = await create(t)
    const large = charge({ rate: 20, burst: 1000, cost: 1000 })
    const small = charge({ rate: 20, burst: 1 })
    t.ok((await store.take([large], 0)).granted)
    for (let i = 0; i < 3; i++) {
      await pass(60)
      t.ok((await store.take([small], 0)).granted)
    }
    await pass(60)
    t.notOk((await store.take([{ ...large, cost: 500 }], 0)).granted)
  })

  t.test('a key whose plan changes keeps its tokens', async (t) => {
    const { store } = await create(t)
    await store.take([charge({ burst: 100, cost: 10 })], 0)
    t.equal((await store.take([charge({ burst: 20, cost: 0 })], 0)).balances[0]!.tokens, 20, 'a smaller bucket overflows')
    await store.take([charge({ burst: 20, cost: 20 })], 0)
    t.ok((await store.take([charge({ burst: 100, cost: 0 })], 0)).balances[0]!.tokens < 1, 'a larger one isn\'t filled for the change')
  })

  t.test('after so many refusals a key is locked out for a time, whatever flows back', async (t) => {
    const { store, pass } = await create(t)
    const login = charge({ rate: 4, burst: 1, lockout: { after: 3, duration: 800 } })
    const take = async (part: Partial<Charge> = {}) => {
      const { granted, balances: [balance] } = await store.take([{ ...login, ...part }], 0)
      return { granted, ...balance! }
    }
    t.ok((await take()).granted)
    for (const refusal of [1, 2]) {
      const { wait, lockedOut } = await take()
      t.ok(wait <= 250 && !lockedOut, `refusal ${refusal} waits for the bucket only`)
    }
    const locking = await take()
    t.match([locking.granted, locking.wait, locking.lockedOut], [false, 800, true], 'the third refusal says how long the lockout takes')
    t.match(await take({ key: 'other' }), { granted: true, lockedOut: false }, 'another key isn\'t locked out')
    await pass(300)
    const locked = await take()
    t.match([locked.granted, locked.lockedOut], [false, true], 'a token has flowed back, and the key is locked out')
    t.ok(locked.wait > 0 && locked.wait <= 500, `a refusal during the lockout doesn't prolong it: ${locked.wait}`)
    const seen = await take({ cost: 0 })
    t.ok(seen.tokens <= 0 && seen.wait > 0 && seen.wait <= 500, 'who only looks sees the lockout')
    t.notOk((await store.take([login], 1e6)).granted, 'nothing is reserved during a lockout')
    await pass(locked.wait)
    t.ok((await take()).granted, 'after the lockout the bucket decides')
    for (const refusal of [1, 2]) t.ok((await take()).wait <= 250, `refusal ${refusal} after the lockout is counted from the start`)
    t.equal((await take()).wait, 800)
  })

  t.test('of several charges, each is locked out by its own lockout, whatever maxWait is', async (t) => {
    const { store } = await create(t)
    const plan = charge({ policy: 'plan', burst: 100 })
    const login = charge({ policy: 'login', burst: 1, lockout: { after: 2, duration: 2e9 } })
    const code = charge({ policy: 'code', burst: 1, lockout: { after: 1, duration: 3e9 } })
    const [none, some] = [0, 1e6]
    await store.take([plan, login], none)
    t.match((await store.take([plan, login], some)).balances, [{ lockedOut: false }, { lockedOut: false }], 'the first')
    const locking = await store.take([plan, login], none)
    t.match(locking.balances, [{ wait: 0, lockedOut: false }, { wait: 2e9, lockedOut: true }], 'the second')
    await store.take([code], none)
    const both = await store.take([plan, login, code], some)
    t.match(both.balances, [{ lockedOut: false }, { lockedOut: true }, { wait: 3e9, lockedOut: true }], 'apart')
    t.ok(both.balances[1]!.wait <= 2e9, 'the lockout of another charge is not its own')
    t.notOk(both.granted)
  })

  t.test('refusals are counted until the bucket is full again; looking, and refusals by other policies, don\'t count', async (t) => {
    const { store, pass } = await create(t)
    const login = charge({ rate: 4, burst: 2, lockout: { after: 2, duration: 10_000 } })
    const empty = charge({ policy: 'empty', burst: 1 })
    const wait = async (...charges: Charge[]) => (await store.take(charges, 0)).balances[0]!.wait
    await store.take([login, empty], 0)
    for (let i = 0; i < 3; i++) t.equal(await wait(login, empty), 0, 'refused by the other policy')
    t.equal(await wait(login), 0)
    t.ok(await wait(login) <= 250, 'the first refusal')
    for (let i = 0; i < 3; i++) await wait({ ...login, cost: 0 })
    await pass(600)
    t.same([await wait(login), await wait(login)], [0, 0], 'the bucket was full again')
    t.ok(await wait(login) <= 250, 'so this refusal is the first one again')
    t.equal(await wait(login), 10_000)
  })

  t.test('tokens that were not used come back after any time, up to the burst, and forgive no refusal', async (t) => {
    const { store, pass } = await create(t)
    const tokens = async (): Promise<number> => Math.round((await store.take([charge({ cost: 0 })], 0)).balances[0]!.tokens)
    const taken3 = await takeOne(store, charge({ cost: 3 }), 0)
    await pass(20)
    await store.refund(charge({ cost: 2 }), taken3)
    t.equal(await tokens(), 2)
    await store.refund(charge({ cost: 3 }), taken3)
    t.equal(await tokens(), 3)
    await store.refund(charge({ key: 'unknown' }), taken3)
    const login = charge({ key: 'login', burst: 2, lockout: { after: 2, duration: 10_000 } })
    const taken = async () => { const { granted, lockedOut } = await takeOne(store, login, 0); return [granted, lockedOut] }
    const first = await takeOne(store, login, 0)
    t.same([first.granted, await taken(), await taken()], [true, [true, false], [false, false]])
    await store.refund(login, first)
    t.same([await taken(), await taken()], [[true, false], [false, true]], 'the second refusal')
  })

  t.test('tokens that have flowed back in place of those that were not used are not given back again', async (t) => {
    const { store, pass } = await create(t)
    const shape = { rate: 4, burst: 3 }
    const unused = await takeOne(store, charge(shape), 0)
    await pass(300)
    const used = await takeOne(store, charge({ ...shape, cost: 2 }), 0)
    await store.refund(charge(shape), unused)
    const { tokens, at } = await takeOne(store, charge({ ...shape, cost: 0 }), 0)
    t.ok(tokens - 4 * (at - used.at) / 1000 < 1.1, `2 of 3 are used: ${tokens} are left`)
  })

  t.test('a reservation given back during a lockout neither ends nor prolongs it', async (t) => {
    const { store } = await create(t)
    const login = charge({ rate: 1, burst: 1, lockout: { after: 1, duration: 10_000 } })
    await store.take([login], 0)
    const reserved = await takeOne(store, login, 1e6)
    t.equal((await store.take([login], 0)).balances[0]!.wait, 10_000)
    await store.giveBack(login, reserved)
    const { wait } = (await store.take([login], 0)).balances[0]!
    t.ok(wait > 9_000 && wait <= 10_000)
  })
}
