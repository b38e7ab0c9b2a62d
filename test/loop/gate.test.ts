// The gate by itself: how long the loop is turned for what arrives.
import t from 'tap'
import { Gate, HeldEntry } from '../../plugins/loop/gate.ts'
import { loopDefaults } from '../../plugins/loop/options.ts'

/** A turn on a machine whose CPUs are taken by others. */
const LONG_TURN = 15

function holding (): Gate<HeldEntry> {
  const gate = new Gate<HeldEntry>(loopDefaults, 0, 0, () => {})
  gate.hold(new HeldEntry(gate.routes.add('GET /'), 'client', 'normal'), 0)
  return gate
}

/** Returns how many turns end before the loop counts as drained, at most 100. */
function turnsOf (gate: Gate<HeldEntry>, ms: number, news: () => void): number {
  for (let turns = 0; turns < 100; turns++) {
    news()
    if (gate.isDrained((turns + 1) * ms)) return turns
  }
  return 100
}

t.test('connections are accepted in long turns too, and a flood of them does not keep requests from starting', async (t) => {
  const gate = holding()
  let connections = 5
  const turns = turnsOf(gate, LONG_TURN, () => { if (connections-- > 0) gate.connected() })
  t.equal(turns, 5, 'all five are accepted before a request starts')
  const flooded = holding()
  const most = turnsOf(flooded, LONG_TURN, () => flooded.connected())
  t.ok(most >= 5 && most <= 20, `${most} turns`)
  t.equal(turnsOf(flooded, LONG_TURN, () => flooded.connected()), most, 'and the same each time')
})

t.test('requests that arrive in long turns keep no request from starting', async (t) => {
  const gate = holding()
  t.equal(turnsOf(gate, LONG_TURN, () => gate.arrived()), 0)
})

t.test('the loop is turned for what arrives for some milliseconds, and then a request starts', async (t) => {
  const gate = holding()
  const turns = turnsOf(gate, 0.1, () => gate.arrived())
  t.ok(turns > 50 && turns < 100, `${turns} turns of 0.1 ms`)
})

t.test('a route whose requests are never answered, such as a stream, is not paced for ever', async (t) => {
  const gate = new Gate<HeldEntry>(loopDefaults, 0, 0, () => {})
  const route = gate.routes.add('GET /events')
  let refused = 0
  for (let now = 2; now <= 2_000; now += 2) {
    // The loop is idle nearly all the time.
    gate.time.mark(now, now * 0.95)
    if (gate.passes(route, now)) gate.spent(gate.pass(route, now), 0.1)
    else if (now > 700) refused++
  }
  t.equal(refused, 0, 'requests that did not pass once half a second was over')
})

t.test('a first request that was slow, because it loaded modules, has no burst refused', async (t) => {
  const gate = new Gate<HeldEntry>(loopDefaults, 0, 0, () => {})
  const route = gate.routes.add('GET /')
  const first = gate.pass(route, 0)
  gate.time.mark(400, 0)
  gate.spent(first, 400)
  gate.answered(first, 400)
  t.equal(route.total, 400, 'the statistics say what it took')
  for (let i = 0; i < 150; i++) t.equal(gate.hold(new HeldEntry(route, 'client', 'normal'), 401), undefined)
})

t.test('an arrival is refused that would wait longer than any may', async (t) => {
  const gate = new Gate<HeldEntry>({ ...loopDefaults, maxWait: 60, orderWait: 60, targetWait: 60 }, 0, 0, () => {})
  const route = gate.routes.add('GET /')
  let now = 0
  const work = (): void => {
    const started = gate.pass(route, now)
    gate.time.mark(now += 20, 0)
    gate.spent(started, 20)
    gate.answered(started, now)
  }
  for (let i = 0; i < 5; i++) work()
  const refusals = Array.from({ length: 5 }, () => gate.hold(new HeldEntry(route, 'client', 'normal'), now))
  t.strictSame(refusals.slice(0, 4), [undefined, undefined, undefined, undefined])
  t.match(refusals[4], { reason: 'wait', held: 4, limit: 60 }, 'four are before it, of 20 ms each')
})

t.test('nothing keeps a long key', async (t) => {
  const gate = holding()
  const entry = new HeldEntry(gate.routes.add('GET /long'), 'x'.repeat(100_000), 'normal')
  t.ok(entry.owner!.length + entry.key.length < 200)
})
