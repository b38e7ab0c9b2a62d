// What each waiter is told, decision by decision of a store that answers when the test says. storm.test.ts has the
// real stores.
import { getEventListeners } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Reserved } from '../../../plugins/limiter/stores/bucket.ts'
import type { Balance, Charge, Decision, Store } from '../../../plugins/limiter/stores/store.ts'
import { Waiters, type WaitEnd, type WaitSettings } from '../../../plugins/limiter/waiting/waiters.ts'
import { deferred, rejection, until, type Deferred } from '../../helper.ts'

/** One token a second. */
const charge = (cost = 1, { key = 'k', burst = 3 } = {}): Charge =>
  ({ policy: 'p', key, cost, rate: 1, burst, onStoreError: 'closed' })

type Answer = Pick<Balance, 'wait'> & { granted: boolean, lockedOut?: boolean }

/** A store that answers when the test says, and remembers what it was asked and given back. */
class ManualStore implements Store {
  readonly asked: Array<{ cost: number, maxWait: number }> = []
  readonly givenBack: Array<{ cost: number, reserved: Reserved | undefined }> = []
  readonly #pending: Array<Deferred<() => Answer>> = []

  async take<C extends Charge> ([charge]: readonly C[], maxWait: number): Promise<Decision<C>> {
    this.asked.push({ cost: charge!.cost, maxWait })
    const pending = deferred<() => Answer>()
    this.#pending.push(pending)
    const { granted, wait, lockedOut = false } = (await pending.promise)()
    return { granted, balances: [{ charge: charge!, tokens: 0, wait, lockedOut }], at: 1_000, store: this }
  }

  giveBack ({ cost }: Charge, reserved: Reserved): void {
    this.givenBack.push({ cost, reserved })
  }

  refund ({ cost }: Charge): void {
    this.givenBack.push({ cost, reserved: undefined })
  }

  async answer (granted: boolean, wait: number, lockedOut = false): Promise<void> {
    this.#pending.shift()!.resolve(() => ({ granted, wait, lockedOut }))
    await turn()
  }

  fail (error: Error): void {
    this.#pending.shift()!.resolve(() => { throw error })
  }
}

const MINUTE = 60_000

/** Calls wait() with patience for a minute, and keeps how it ended. */
function start (waiters: Waiters, store: Store, cost = 1, settings: Partial<WaitSettings> = {}): {
  end: WaitEnd | undefined, promise: Promise<WaitEnd>, leave (): void
} {
  const controller = new AbortController()
  const promise = waiters.wait(charge(cost),
    { store, timeout: MINUTE, maxWaiting: 100, signals: [controller.signal], ...settings })
  const call = {
    end: undefined as WaitEnd | undefined,
    promise,
    leave: () => controller.abort(new Error('left'))
  }
  promise.then((end) => { call.end = end }, () => {})
  return call
}

function create (t: Test, maxTotal = 10): [Waiters, ManualStore] {
  const waiters = new Waiters(maxTotal)
  t.teardown(() => waiters.close())
  return [waiters, new ManualStore()]
}

/** Times are read some ms after they were computed, on a busy machine. */
const isAbout = (ms: number | undefined, expected: number): boolean =>
  ms !== undefined && ms <= expected + 500 && ms > expected - 500

t.test('only the first waiter asks; the tokens of one that leaves serve the next', async (t) => {
  const [waiters, store] = create(t)
  const [first, second] = [start(waiters, store), start(waiters, store)]
  t.equal(waiters.total, 2)
  t.equal(store.asked.length, 1)
  await store.answer(true, 50)
  first.leave()
  t.match(await rejection(first.promise), { message: 'left' })
  t.strictSame(await second.promise, { granted: true, wait: 0, lockedOut: false })
  t.equal(store.asked.length, 1)
  t.strictSame(store.givenBack, [])
  await turn()
  t.equal(waiters.total, 0)
})

t.test('a reservation that nobody wants goes back: as a reservation before its time, whole after it', async (t) => {
  const [waiters, store] = create(t)
  const [first, second] = [start(waiters, store, 2), start(waiters, store, 1)]
  await store.answer(true, 5_000)
  first.leave()
  t.match(store.givenBack, [{ cost: 2, reserved: { at: 1_000, wait: 5_000 } }], 'the second costs less')
  t.equal(store.asked.length, 2)
  await store.answer(true, 20)
  for (const end = performance.now() + 25; performance.now() < end;);
  second.leave()
  t.strictSame(store.givenBack[1], { cost: 1, reserved: undefined }, 'its time has passed in a stall')
})

t.test('an arrival that would wait too long behind the others is refused at once, and told how long', async (t) => {
  const [waiters, store] = create(t)
  const first = start(waiters, store, 2)
  const before = await start(waiters, store, 3, { timeout: 1_900 }).promise
  t.strictSame(before, { granted: false, wait: 2_000, lockedOut: false }, 'a full bucket has 3 of these 5 tokens')
  t.equal(start(waiters, store, 1, { timeout: 0 }).end, undefined)
  await turn()
  t.equal(waiters.total, 2, 'which has the three tokens of a full bucket, waits for the store')
  await store.answer(true, 5_000)
  const after = await start(waiters, store, 3, { timeout: 6_000 }).promise
  t.equal(after.granted, false)
  t.ok(isAbout(after.wait, 8_000), `${after.wait} ms: 5 s of the first, and 3 of its own`)
  const patient = start(waiters, store, 3, { timeout: 9_000 })
  const behind = await start(waiters, store, 1, { timeout: 8_000 }).promise
  t.ok(isAbout(behind.wait, 9_000), `${behind.wait} ms: one more second behind the patient one`)
  patient.leave()
  const next = start(waiters, store, 1, { timeout: 8_000 })
  await turn()
  t.equal(next.end, undefined, 'the patient one has left, so there is time')
  first.leave()
})

t.test('once the first has its time, those behind that can no longer be served in theirs are refused', async (t) => {
  const [waiters, store] = create(t)
  const calls = [MINUTE, 6_500, 6_500, 7_500].map((timeout) => start(waiters, store, 1, { timeout }))
  await store.answer(true, 5_000)
  t.strictSame(calls.map(({ end }) => end?.granted), [undefined, undefined, false, undefined])
  t.ok(isAbout(calls[2]!.end?.wait, 7_000), `${calls[2]!.end?.wait} ms: the third token`)
  t.equal(waiters.total, 3)
  const served = create(t)
  const now = [0, 900].map((timeout) => start(...served, 1, { timeout }))
  await served[1].answer(true, 0)
  t.strictSame(now.map(({ end }) => end?.granted), [true, undefined], 'tokens that were there may be followed by more')
})

t.test('the tokens of a call that left while the store decided come too late for the next: it is ' +
  'refused', async (t) => {
  const [waiters, store] = create(t)
  const [first, second] = [start(waiters, store), start(waiters, store, 1, { timeout: 2_000 })]
  first.leave()
  await store.answer(true, 5_000)
  t.equal(second.end?.granted, false)
  t.ok(isAbout(second.end?.wait, 5_000), `${second.end?.wait} ms`)
  t.match(store.givenBack, [{ cost: 1, reserved: { wait: 5_000 } }])
})

t.test('what the store says of a call that has left meanwhile ends no other call', async (t) => {
  const [waiters, store] = create(t)
  const calls = Array.from({ length: 3 }, () => start(waiters, store))
  calls[0]!.leave()
  await store.answer(false, 70_000)
  calls[1]!.leave()
  store.fail(new Error('store is away'))
  await turn()
  await store.answer(true, 0)
  t.equal(calls[2]!.end?.granted, true)
  t.equal(waiters.total, 0)
})

t.test('what the store says goes to the caller: a refusal with the time that the call has waited, a lockout, an ' +
  'error', async (t) => {
  const [waiters, store] = create(t)
  const calls = Array.from({ length: 4 }, () => start(waiters, store))
  t.ok(isAbout(store.asked[0]!.maxWait, MINUTE))
  for (const end = performance.now() + 30; performance.now() < end;);
  await store.answer(false, 70_000)
  t.match(calls[0]!.end, { granted: false, lockedOut: false })
  t.ok(calls[0]!.end!.wait >= 70_000)
  await store.answer(false, 4_000, true)
  t.strictSame(calls[1]!.end, { granted: false, wait: 4_000, lockedOut: true })
  store.fail(new Error('store is away'))
  t.match(await rejection(calls[2]!.promise), { message: 'store is away' })
  await store.answer(false, 70_000)
  t.ok(calls[3]!.end!.wait > 70_010, `${calls[3]!.end!.wait} ms: it had waited before the store was asked`)
  t.equal(waiters.total, 0)
})

t.test('a call without patience gets the store\'s answer, and is refused if the store does not answer', async (t) => {
  const [waiters, store] = create(t)
  const quick = start(waiters, store, 1, { timeout: 0 })
  await new Promise((resolve) => setTimeout(resolve, 10))
  await store.answer(true, 0)
  t.equal(quick.end?.granted, true)
  const unanswered = start(waiters, store, 1, { timeout: 0 })
  await until(() => unanswered.end !== undefined, 'it ends')
  t.match(unanswered.end, { granted: false, lockedOut: false })
  t.ok(unanswered.end!.wait >= 50, 'some time was left for the answer')
  await store.answer(true, 0)
  t.strictSame(store.givenBack, [{ cost: 1, reserved: undefined }], 'a late answer takes no tokens')
})

t.test('a call whose timeout ends while it waits behind another is told how long it would have had to ' +
  'wait', async (t) => {
  const [waiters, store] = create(t)
  start(waiters, store, 3)
  const second = start(waiters, store, 1, { timeout: 1_000 })
  await until(() => second.end !== undefined, 'its timeout')
  t.ok(isAbout(second.end!.wait, 2_000), `${second.end!.wait} ms: one has passed, and one token is missing`)
})

t.test('bounds: of a bucket and of all; nobody overtakes those who wait, and a token that is there is ' +
  'given', async (t) => {
  const [waiters, store] = create(t, 2)
  start(waiters, store, 1)
  await store.answer(true, 5_000)
  const full = await start(waiters, store, 1, { maxWaiting: 1 }).promise
  t.match(full, { granted: false, lockedOut: false, bound: { waiting: 1, limit: 1 } })
  t.ok(isAbout(full.wait, 6_000))
  start(waiters, store, 1)
  t.match(await start(waiters, store, 1).promise, { granted: false, bound: { waiting: 2, limit: 2 } })
  t.equal(store.asked.length, 1)
  const settings = { store, timeout: MINUTE, maxWaiting: 100, signals: [] }
  const other = waiters.wait(charge(1, { key: 'other' }), settings)
  t.same(store.asked[1], { cost: 1, maxWait: 0 })
  await store.answer(true, 0)
  t.match(await other, { granted: true, bound: { waiting: 2, limit: 2 } }, 'of a bucket for which nobody waits')
})

t.test('close() rejects all that wait, from the last to the first so that none asks the store, and all that come ' +
  'later', async (t) => {
  const [waiters, store] = create(t)
  const calls = Array.from({ length: 3 }, () => start(waiters, store, 1))
  await store.answer(true, 5_000)
  const ended: number[] = []
  calls.forEach(({ promise }, index) => { promise.catch(() => ended.push(index)) })
  waiters.close()
  for (const { promise } of calls) t.match(await rejection(promise), { code: 'FC_ERR_CLOSING' })
  t.strictSame(ended, [2, 1, 0])
  t.equal(store.asked.length, 1)
  t.match(store.givenBack, [{ reserved: { wait: 5_000 } }])
  t.match(await rejection(start(waiters, store).promise), { code: 'FC_ERR_CLOSING' })
  t.throws(() => waiters.ensureOpen(), { code: 'FC_ERR_CLOSING' })
  t.equal(waiters.total, 0)
})

t.test('signals: one that has aborted asks nothing, each of them ends the wait, and no listener is left on ' +
  'them', async (t) => {
  const [waiters, store] = create(t)
  const [one, other] = [new AbortController(), new AbortController()]
  const signals = [one.signal, other.signal]
  const waiting = start(waiters, store, 1, { signals })
  t.strictSame(signals.map((signal) => getEventListeners(signal, 'abort').length), [1, 1])
  other.abort(new Error('the other'))
  t.match(await rejection(waiting.promise), { message: 'the other' })
  t.strictSame(signals.map((signal) => getEventListeners(signal, 'abort').length), [0, 0])
  t.match(await rejection(start(waiters, store, 1, { signals }).promise), { message: 'the other' })
  t.equal(store.asked.length, 1)
})

t.test('a bucket for which nobody waits any more is forgotten, and begins again', async (t) => {
  const [waiters, store] = create(t)
  const first = start(waiters, store)
  await store.answer(true, 5_000)
  t.equal(waiters.buckets, 1)
  first.leave()
  await turn()
  t.equal(waiters.buckets, 0)
  start(waiters, store)
  t.equal(store.asked.length, 2)
  t.equal((await start(waiters, store, 3, { timeout: 900 }).promise).wait, 1_000, 'the store has not decided on it yet')
})
