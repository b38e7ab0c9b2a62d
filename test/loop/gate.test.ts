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
