import { readFileSync } from 'node:fs'
import t from 'tap'
import fc from 'fast-check'
import {
  advance, delay, fullAt, giveBack, SLACK, spend, timeOf, type Bucket, type Reserved, type Shape
} from '../../../plugins/limiter/stores/bucket.ts'

interface Operation { at: number, op: 'allow' | 'reserve', n: number, ok: boolean, delay?: number, tokens: number }
interface Trace { rate: number, burst: number, ops: Operation[] }

/** A bucket with the operations of Go's Limiter, over the pure functions. */
class Limiter {
  bucket: Bucket | undefined
  readonly shape: Shape
  constructor (shape: Shape) { this.shape = shape }

  reserve (now: number, cost: number, maxWait = Infinity): number | undefined {
    const advanced = advance(this.bucket, now, this.shape)
    const wait = delay(advanced, cost, this.shape)
    if (wait === Infinity || wait > maxWait) return undefined
    this.bucket = spend(advanced, cost, wait)
    return wait
  }

  allow (now: number, cost = 1): boolean {
    return this.reserve(now, cost, 0) !== undefined
  }

  tokens (now: number): number {
    return advance(this.bucket, now, this.shape).tokens
  }
}

const traces = JSON.parse(readFileSync(new URL('../../fixtures/token-bucket-traces.json', import.meta.url), 'utf8')) as Trace[]

t.test('every decision equals the one of Go\'s x/time/rate', async (t) => {
  let decisions = 0
  for (const [index, { rate, burst, ops }] of traces.entries()) {
    const limiter = new Limiter({ rate, burst })
    for (const [step, { at, op, n, ok, delay, tokens }] of ops.entries()) {
      const before = limiter.tokens(at) - n
      const wait = limiter.reserve(at, n, op === 'allow' ? 0 : Infinity)
      const label = `trace ${index}, operation ${step}: ${op} ${n} at ${at}`
      if (Math.abs(before) > 1e-6 && wait !== undefined !== ok) t.fail(label)
      if (op === 'reserve' && ok && Math.abs((wait ?? NaN) - (delay ?? NaN)) > 1e-3) t.fail(`${label}: waits ${wait}, not ${delay}`)
      if (Math.abs(limiter.tokens(at) - tokens) > 1e-6) t.fail(`${label}: ${limiter.tokens(at)} tokens, not ${tokens}`)
      decisions++
    }
  }
  t.equal(decisions, 120 * 60)
})

const shapes = fc.record({ rate: fc.double({ min: 0.01, max: 1e5, noNaN: true }), burst: fc.integer({ min: 1, max: 1000 }) })
const steps = fc.array(fc.record({ after: fc.double({ min: 0, max: 5000, noNaN: true }), cost: fc.integer({ min: 1, max: 50 }) }), { minLength: 1, maxLength: 80 })

t.test('over any interval no more than burst + rate·t is granted', async () => {
  fc.assert(fc.property(shapes, steps, fc.double({ min: 0, max: 1e10, noNaN: true }), (shape, steps, origin) => {
    const limiter = new Limiter(shape)
    const grants: Array<{ at: number, cost: number }> = []
    let now = origin
    for (const { after, cost } of steps) {
      now += after / shape.rate
      if (limiter.allow(now, cost)) grants.push({ at: now, cost })
    }
    for (let from = 0; from < grants.length; from++) {
      let granted = 0
      for (const { at, cost } of grants.slice(from)) {
        granted += cost
        const bound = shape.burst + shape.rate * (at - grants[from]!.at) / 1000
        if (granted > bound + 1e-6 + bound * 1e-9) return false
      }
    }
    return true
  }))
})

t.test('over any interval no more than burst + rate·t acts, reservations and what they give back included', async () => {
  fc.assert(fc.property(shapes, fc.array(fc.record({
    after: fc.integer({ min: 0, max: 2000 }), cost: fc.integer({ min: 1, max: 20 }), cancel: fc.option(fc.nat({ max: 20 }))
  }), { minLength: 1, maxLength: 60 }), (shape, steps) => {
    const limiter = new Limiter(shape)
    const held: Array<Reserved & { actsAt: number, cost: number }> = []
    let now = 0
    for (const { after, cost, cancel } of steps) {
      now += after / shape.rate
      const victim = cancel === null ? undefined : held[cancel]
      if (victim !== undefined) {
        if (victim.actsAt < now) continue
        limiter.bucket = giveBack(limiter.bucket!, now, shape, victim.cost, victim)
        held.splice(held.indexOf(victim), 1)
      } else {
        const wait = limiter.reserve(now, cost)
        if (wait !== undefined) held.push({ at: now, wait, actsAt: now + wait, cost })
      }
    }
    held.sort((a, b) => a.actsAt - b.actsAt)
    for (let from = 0; from < held.length; from++) {
      let acted = 0
      for (const { actsAt, cost } of held.slice(from)) {
        acted += cost
        // Delays are cut to nanoseconds.
        if (acted > shape.burst + shape.rate * (actsAt - held[from]!.actsAt + 2e-6) / 1000 + 1e-5) return false
      }
    }
    return true
  }))
})

t.test('a clock that goes back grants nothing extra', async () => {
  fc.assert(fc.property(shapes, fc.array(fc.record({ to: fc.integer({ min: 0, max: 10_000 }), cost: fc.integer({ min: 1, max: 10 }) }), { maxLength: 80 }), (shape, steps) => {
    const limiter = new Limiter(shape)
    let granted = 0
    for (const { to, cost } of steps) if (limiter.allow(to, cost)) granted += cost
    const times = steps.map(({ to }) => to)
    return granted <= shape.burst + shape.rate * (Math.max(0, ...times) - Math.min(...times, 1e9)) / 1000 + 1e-5 || steps.length === 0
  }))
})

t.test('who waits exactly as long as the delay says is let through', async () => {
  fc.assert(fc.property(shapes, steps, (shape, steps) => {
    const limiter = new Limiter(shape)
    let now = 0
    for (const { after, cost } of steps) {
      now += after
      if (cost > shape.burst || limiter.allow(now, cost)) continue
      // And a nanosecond, since delays are cut to nanoseconds.
      now += delay(advance(limiter.bucket, now, shape), cost, shape) + 1e-6
      if (!limiter.allow(now, cost)) return false
    }
    return true
  }))
})

t.test('a bucket is full again at fullAt, and not before', async () => {
  fc.assert(fc.property(shapes, fc.integer({ min: 1, max: 1000 }), (shape, cost) => {
    const limiter = new Limiter(shape)
    if (!limiter.allow(1000, Math.min(cost, shape.burst))) return false
    const full = fullAt(limiter.bucket!, shape)
    return limiter.tokens(full) > shape.burst - 1e-6 && limiter.tokens(1000 + (full - 1000) * 0.9) < shape.burst - 1e-9
  }))
})

t.test('a reservation given back lets the next one act earlier, but never together with those behind it', async (t) => {
  const shape = { rate: 1, burst: 1 }
  const limiter = new Limiter(shape)
  limiter.allow(0)
  t.equal(limiter.reserve(0, 1), 1000)
  t.equal(limiter.reserve(0, 1), 2000)
  limiter.bucket = giveBack(limiter.bucket!, 0, shape, 1, { at: 0, wait: 1000 })
  t.equal(limiter.reserve(0, 1), 3000, 'the first one\'s place is lost: the second still acts at 2 s')
  limiter.bucket = giveBack(limiter.bucket!, 0, shape, 1, { at: 0, wait: 3000 })
  t.equal(limiter.reserve(0, 1), 3000, 'the last one\'s place is free again')

  const wide = new Limiter({ rate: 0.001, burst: 5 })
  wide.reserve(0, 3)
  wide.bucket = giveBack(wide.bucket!, 1, wide.shape, 3, { at: 0, wait: 0 })
  t.ok(wide.tokens(1) < 2.001, 'what has acted gives nothing back')
})

t.test('no limit', async (t) => {
  const limiter = new Limiter({ rate: Infinity, burst: 1 })
  for (let i = 0; i < 100; i++) t.ok(limiter.allow(0, 5))
})

t.test('a burst that shrinks takes the surplus away; a rate that grows doesn\'t refill the past', async (t) => {
  const spent = spend(advance(undefined, 0, { rate: 1, burst: 100 }), 10, 0)
  t.equal(advance(spent, 0, { rate: 1, burst: 10 }).tokens, 10)
  const empty = spend(advance(undefined, 0, { rate: 1, burst: 10 }), 10, 0)
  t.equal(advance(empty, 0, { rate: 100, burst: 100 }).tokens, 0)
})

t.test('what each function returns, to the last digit', async (t) => {
  // A token a millisecond.
  const shape = { rate: 1000, burst: 10 }
  t.same(advance(undefined, 5, shape), { tokens: 10, at: 5, ahead: 0 }, 'a new bucket is full, and nothing is ahead')
  t.same(advance({ tokens: 1, at: 0, ahead: 7 }, 2, shape), { tokens: 3, at: 2, ahead: 5 })
  t.same(advance({ tokens: 1, at: 10, ahead: 7 }, 2, shape), { tokens: 1, at: 10, ahead: 7 }, 'a clock that goes back')
  t.equal(timeOf(1, { rate: 3, burst: 1 }), 333.333333, 'cut to nanoseconds')
  t.equal(delay({ tokens: 0, at: 0, ahead: 0 }, SLACK, shape), 0, 'the part that may be missing')
  t.equal(fullAt({ tokens: 10, at: 7 }, shape), 7)
})

t.test('a reservation gives back what nobody has been promised on top of it', async (t) => {
  const shape = { rate: 1000, burst: 10 }
  const last = { tokens: -5, at: 0, ahead: 5 }
  t.same(giveBack(last, 0, shape, 5, { at: 0, wait: 5 }), { tokens: 0, at: 0, ahead: 0 }, 'the last one: nothing is ahead')
  t.same(giveBack(last, 2, shape, 5, { at: 0, wait: 5 }), { tokens: 2, at: 2, ahead: 3 }, 'later, when it acts in 3 ms')
  const behind = { tokens: -8, at: 0, ahead: 8 }
  t.equal(giveBack(behind, 2, shape, 5, { at: 0, wait: 3 }), behind, 'all of it has been promised to the one behind')
  t.same(giveBack(behind, 2, shape, 7, { at: 0, wait: 3 }), { tokens: -4, at: 2, ahead: 6 }, 'a part of it')
  t.equal(giveBack(last, 3, shape, 5, { at: 0, wait: 1 }), last, 'one whose time has passed has acted')
  t.same(giveBack({ tokens: 0, at: 0, ahead: 0 }, 0, shape, 5, { at: 0, wait: 0 }), { tokens: 5, at: 0, ahead: 0 },
    'one that acts now')
  t.equal(giveBack({ tokens: 9, at: 0, ahead: 0 }, 0, shape, 5, { at: 0, wait: 0 }).tokens, 10, 'never above the burst')
  const free = { tokens: 10, at: 0, ahead: 0 }
  t.equal(giveBack(free, 0, { rate: Infinity, burst: 10 }, 1, { at: 0, wait: 0 }), free)
})
