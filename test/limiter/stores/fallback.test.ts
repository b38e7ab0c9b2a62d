import t from 'tap'
import type { LimiterStoreError } from '../../../plugins/shared/errors.ts'
import { FallbackStore } from '../../../plugins/limiter/stores/fallback.ts'
import { MemoryStore } from '../../../plugins/limiter/stores/memory-store.ts'
import { takeOne, type Charge, type OnStoreError, type Store, type Decision } from '../../../plugins/limiter/stores/store.ts'
import { contract, charge } from './contract.ts'

function deferred<T> (): { promise: Promise<T>, resolve: (value: T) => void, reject: (error: Error) => void } {
  let resolve!: (value: T) => void
  let reject!: (error: Error) => void
  const promise = new Promise<T>((_resolve, _reject) => { resolve = _resolve; reject = _reject })
  return { promise, resolve, reject }
}

function subject (timeout = 1000) {
  const clock = { time: 0, now () { return this.time } }
  const calls: Array<ReturnType<typeof deferred<Decision>> & { charges: readonly Charge[] }> = []
  const remote: Store = {
    async take (charges) {
      const call = { ...deferred<Decision>(), charges }
      calls.push(call)
      const { balances, ...decision } = await call.promise
      return { ...decision, balances: charges.map((charge, index) => ({ ...balances[index]!, charge })) }
    },
    giveBack () { throw new Error('not called here') },
    refund () { throw new Error('not called here') }
  }
  const changes: string[] = []
  const store = new FallbackStore(remote, new MemoryStore(clock, 100), {
    timeout, clock, onFailed: ({ message }) => changes.push(message), onRecovered: (ms) => changes.push(`back after ${ms}`)
  })
  const granted = (charges: readonly Charge[]): Decision => ({ granted: true, at: 0, balances: charges.map((charge) => ({ charge, tokens: 7, wait: 0, lockedOut: false })), store: remote })
  return { clock, calls, store, changes, granted, remote }
}

/** Lets what has settled be heard. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

t.test('the contract, with a memory store as the remote one', async (t) => {
  contract(t, async () => {
    const clock = { time: 0, now () { return this.time } }
    const store = new FallbackStore(new MemoryStore(clock, 1000), new MemoryStore(clock, 1000), { timeout: 1000, clock, onFailed: t.error, onRecovered: t.error })
    return { store, pass: async (ms) => { clock.time += ms } }
  })
})

t.test('each policy decides in its own way', async (t) => {
  const fails = async (policies: OnStoreError[], times: number): Promise<boolean[]> => {
    const { store, calls } = subject()
    const granted: boolean[] = []
    for (let i = 0; i < times; i++) {
      const decision = store.take(policies.map((onStoreError, index) => charge({ policy: `p${index}`, burst: 2, onStoreError })), 0)
      if (i === 0) calls[0]!.reject(new Error('gone'))
      granted.push((await decision).granted)
    }
    return granted
  }
  t.same(await fails(['local'], 3), [true, true, false])
  t.same(await fails(['open'], 3), [true, true, true])
  t.same(await fails(['open', 'local'], 3), [true, true, false])
  await t.rejects(fails(['local', 'open', 'closed'], 1), { code: 'FC_ERR_LIMITER_STORE', statusCode: 503, policy: 'p2', cause: { message: 'gone' } })
})

t.test('balances keep the order of the charges', async (t) => {
  const { store, calls } = subject()
  const decision = store.take([charge({ policy: 'a', onStoreError: 'open', burst: 9 }), charge({ policy: 'b', onStoreError: 'local', burst: 4 })], 0)
  calls[0]!.reject(new Error('gone'))
  t.same((await decision).balances.map(({ tokens }) => tokens), [9, 3])
})

t.test('a store that doesn\'t answer costs the timeout once, then nothing', async (t) => {
  const { store, calls, changes } = subject(20)
  const local = [charge({ onStoreError: 'local' })]
  t.ok((await store.take(local, 0)).granted)
  t.same(changes, ['The store took longer than 20 ms'])
  const before = calls.length
  for (let i = 0; i < 5; i++) await store.take(local, 0)
  t.equal(calls.length, before, 'nobody asks it while it is away')
})

t.test('a probe brings it back; one line a change of state', async (t) => {
  const { store, calls, changes, clock, granted } = subject()
  const local = [charge({ onStoreError: 'local', burst: 1000 })]
  const first = [store.take(local, 0), store.take(local, 0)]
  for (const call of calls) call.reject(new Error('gone'))
  await Promise.all(first)
  t.same(changes, ['gone'])

  clock.time = 300
  for (let i = 0; i < 5; i++) await store.take(local, 0)
  t.equal(calls.length, 3, 'one probe at a time')
  t.not(calls[2]!.charges[0]!.policy, local[0]!.policy, 'on a key of its own')
  calls[2]!.reject(new Error('READONLY'))
  await settled()
  await store.take(local, 0)
  t.equal(calls.length, 3, 'and not at once again')

  clock.time = 600
  await store.take(local, 0)
  clock.time = 2000
  calls[3]!.resolve(granted(calls[3]!.charges))
  await settled()
  t.same(changes, ['gone'], 'an answer after more than the timeout is no recovery')

  await store.take(local, 0)
  calls[4]!.resolve(granted(calls[4]!.charges))
  await settled()
  t.same(changes, ['gone', 'back after 2000'])
  const decision = store.take(local, 0)
  calls[5]!.resolve(granted(local))
  t.equal((await decision).balances[0]!.tokens, 7, 'the remote store decides again')
})

t.test('a probe whose answer is lost is followed by another', async (t) => {
  const { store, calls, clock } = subject()
  const local = [charge({ onStoreError: 'local', burst: 1000 })]
  const first = store.take(local, 0)
  calls[0]!.reject(new Error('gone'))
  await first
  for (const [time, expected] of [[1000, 2], [3000, 2], [6100, 3]] as const) {
    clock.time = time
    await store.take(local, 0)
    t.equal(calls.length, expected, `after ${time} ms`)
  }
})

t.test('what the local store granted is given back to it', async (t) => {
  const { store, calls } = subject()
  const local = charge({ onStoreError: 'local', rate: 0.001, burst: 1 })
  const first = store.take([local], 0)
  calls[0]!.reject(new Error('gone'))
  await first
  const held = await takeOne(store, local, 1e9)
  await held.store!.giveBack(local, held)
  t.equal((await store.take([{ ...local, cost: 0 }], 0)).balances[0]!.tokens, 0)
})

t.test('giving back to a store that has gone is no error of the caller', async (t) => {
  const { store, calls, granted, changes, remote } = subject()
  const decision = store.take([charge()], 1000)
  calls[0]!.resolve(granted([charge()]))
  const held = await decision
  remote.giveBack = () => Promise.reject(new Error('gone'))
  await held.store!.giveBack(charge(), { at: 0, wait: 500 })
  t.same(changes, ['gone'])
  await held.store!.giveBack(charge(), { at: 0, wait: 500 })
  t.same(changes, ['gone'])
})

t.test('the refusal says when to try again, and no policy', async (t) => {
  const { store, calls } = subject()
  const decision = store.take([charge({ policy: 'secret' })], 0)
  calls[0]!.reject(new Error('gone'))
  const error = await Promise.resolve(decision).catch((error: LimiterStoreError) => error) as LimiterStoreError
  t.equal(error.headers['retry-after'], '1')
  t.notMatch(error.message, /secret/)
})
