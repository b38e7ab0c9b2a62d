/**
 * The clients, in a process of their own. Requests of a stream arrive open loop, as a Poisson process, whatever the server's state, and give up after
 * their patience. A prober asks for /ping meanwhile. lib/cell.mjs starts this process and sends the orders.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Connections } from './connections.mjs'
import { crowd } from './crowd.mjs'
import { dealer, drawer, random } from './random.mjs'
import { percentile } from './report.mjs'
import { compareTimes } from './threads.mjs'
import { workOf } from './work.mjs'

/**
 * @typedef {object} Stream
 * @property {string} name
 * @property {string[]} deck paths, drawn
 * @property {number} rate arrivals a second
 *
 * @typedef {object} Orders
 * @property {number} port
 * @property {number} seconds during which requests arrive
 * @property {number} seed
 * @property {number} patience ms
 * @property {number} [ramp] ms at the beginning that the rate leaves out, 1 s by default
 * @property {boolean} [fresh] each probe comes on a connection of its own, as one of Kubernetes does
 * @property {Stream[]} streams
 *
 * @typedef {object} Outcome
 * @property {number} sent
 * @property {number} served
 * @property {number} refused by a 503
 * @property {number} gaveUp
 * @property {number} failed ended in any other way
 * @property {number} rate served a second, the first second left out
 * @property {number} work of the served, in ms a second: the rate, without the chance of which lengths were among them
 * @property {number} p50 of the latency of the served, in ms
 * @property {number} p99
 * @property {number} p99Late of those that arrived after the first 3 s
 * @property {number} max
 */

/** The first ms of a run, which the rate leaves out because the queue is still filling. */
const RAMP = 1_000
/** The first ms of a run, which `p99Late` leaves out. */
const SETTLED = 3_000
/** Probes a second. */
const PROBES = 20
/** ms after which a probe gives up, so that a server that hangs can't hold up the benchmark. */
const PROBE_PATIENCE = 5_000

class Tally {
  sent = 0
  /** @type {number[]} when requests arrived */
  arrivals = []
  refused = 0
  gaveUp = 0
  failed = 0
  /** @type {Array<{ at: number, ms: number, work: number }>} arrival, latency, and what it asked for */
  served = []

  /**
   * @param {number} at
   * @param {number} now
   * @param {import('./connections.mjs').Ending} ending
   * @param {string} path
   */
  count (at, now, ending, path) {
    if (ending === 200) this.served.push({ at, ms: now - at, work: workOf(path) })
    else if (ending === 503) this.refused++
    else if (ending === 'gaveUp') this.gaveUp++
    else this.failed++
  }

  /** @param {number} from @param {number} to */
  between (from, to) {
    return {
      work: this.served.reduce((sum, { at, ms, work }) => at + ms >= from && at + ms < to ? sum + work : sum, 0),
      asked: this.arrivals.filter((at) => at >= from && at < to).length
    }
  }

  /**
   * @param {number} duration
   * @param {number} [ramp]
   * @returns {Outcome}
   */
  outcome (duration, ramp = Math.min(RAMP, duration / 4)) {
    const { sent, refused, gaveUp, failed, served } = this
    const latencies = served.map(({ ms }) => ms)
    // Answers count by their instant: threads that are always busy answer as often at the edges of the window as within it.
    const counted = served.filter(({ at, ms }) => at + ms >= ramp && at + ms < duration)
    return {
      sent,
      served: served.length,
      refused,
      gaveUp,
      failed,
      rate: counted.length * 1_000 / (duration - ramp),
      work: counted.reduce((sum, { work }) => sum + work, 0) * 1_000 / (duration - ramp),
      p50: percentile(latencies, 0.5),
      p99: percentile(latencies, 0.99),
      p99Late: percentile(served.filter(({ at }) => at >= SETTLED).map(({ ms }) => ms), 0.99),
      max: percentile(latencies, 1)
    }
  }
}

/** @param {number[]} values */
const sum = (values) => values.reduce((sum, value) => sum + value, 0)

/** The instants, in ms, at which the requests of a stream arrive. */
function * arrivals (/** @type {Stream} */ { rate }, /** @type {() => number} */ rng) {
  for (let at = 0; ;) yield at += -Math.log(1 - rng()) * 1_000 / rate
}

/** @param {Orders} orders */
async function run ({ port, seconds, seed, patience, ramp, fresh = false, streams }) {
  const connections = new Connections(port)
  const probes = new Connections(port)
  const duration = seconds * 1_000
  let began = performance.now()
  const clock = () => performance.now() - began
  /** @type {Array<Promise<void>>} */
  const pending = []

  /**
   * @param {Tally} tally
   * @param {number} at
   * @param {string} path
   * @param {Promise<import('./connections.mjs').Ending>} request
   */
  const follow = (tally, at, path, request) => {
    tally.sent++
    tally.arrivals.push(at)
    pending.push(request.then((ending) => tally.count(at, clock(), ending, path)))
  }

  const times = async () => {
    const response = await fetch(`http://127.0.0.1:${port}/times`)
    const times = response.ok ? /** @type {import('./threads.mjs').Times} */ (await response.json()) : undefined
    return { times, at: clock() }
  }
  await times() // Its code is compiled, and its connection is open.
  began = performance.now()
  const first = sleep(ramp ?? RAMP).then(times)

  const tallies = streams.map((stream, index) => {
    const tally = new Tally()
    const rng = random(seed + index * 7_919)
    const draw = drawer(stream.deck, rng)
    const times = arrivals(stream, rng)
    let next = times.next().value ?? Infinity
    const arrive = () => {
      for (const now = clock(); next <= now && next < duration; next = times.next().value ?? Infinity) {
        // Latency counts from the instant at which the request was due: a client process that is late must not make the server look fast.
        const path = draw()
        follow(tally, next, path, connections.get(path, { patience }))
      }
      if (next < duration) setTimeout(arrive, Math.max(0, next - clock()))
    }
    arrive()
    return tally
  })

  const pings = new Tally()
  // A probe that gives up counts as answered at that instant, since it has waited at least so long.
  const probe = async () => {
    const connections = fresh ? new Connections(port) : probes
    const ending = await connections.get('/ping', { patience: PROBE_PATIENCE })
    if (fresh) connections.close()
    return ending === 'gaveUp' ? 200 : ending
  }
  const prober = setInterval(() => follow(pings, clock(), '/ping', probe()), 1_000 / PROBES)
  await sleep(Math.max(0, duration - clock()))
  const begin = await first
  const end = await times()
  clearInterval(prober)
  // No new requests arrive now. Those in flight end when their patience ends, at the latest.
  await Promise.all(pending)
  connections.close()
  probes.close()
  const all = tallies.map((tally) => tally.between(begin.at, end.at))
  const meanwhile = { work: sum(all.map(({ work }) => work)), asked: sum(all.map(({ asked }) => asked)) }
  return {
    streams: Object.fromEntries(streams.map(({ name }, index) => [name, /** @type {Tally} */ (tallies[index]).outcome(duration, ramp)])),
    ping: pings.outcome(duration),
    threads: begin.times && end.times && compareTimes(begin.times, end.times, meanwhile),
    opened: connections.opened
  }
}

/**
 * Keeps `inFlight` requests in flight.
 *
 * @param {{ port: number, seconds: number, seed: number, deck: string[], inFlight: number, skip: number }} orders
 * @returns {Promise<number>} served a second, from the answer number `skip` on: with as many threads, the first that says anything
 */
async function saturate ({ port, seconds, seed, deck, inFlight, skip }) {
  const connections = new Connections(port)
  const path = dealer(deck, random(seed))
  const end = performance.now() + seconds * 1_000
  /** @type {number[]} */
  const served = []
  await Promise.all(Array.from({ length: inFlight }, async () => {
    while (performance.now() < end) {
      const ending = await connections.get(path())
      if (ending !== 200) throw new Error(`The server answered ${ending} to ${inFlight} in flight`)
      served.push(performance.now())
    }
  }))
  connections.close()
  // Only answers up to the instant at which requests stopped being replaced count.
  const counted = served.filter((at) => at < end)
  const first = counted[skip - 1] ?? NaN
  return (counted.length - skip) * 1_000 / (/** @type {number} */ (counted.at(-1)) - first)
}

/**
 * Sends a number of requests and waits for all answers.
 *
 * @param {{ port: number, path: string, count: number, inFlight: number, expect?: number }} orders
 */
async function many ({ port, path, count, inFlight, expect = 200 }) {
  const connections = new Connections(port)
  let left = count
  await Promise.all(Array.from({ length: inFlight }, async () => {
    while (left-- > 0) {
      const ending = await connections.get(path)
      if (ending !== expect) throw new Error(`The server answered ${ending}`)
    }
  }))
  connections.close()
}

const tasks = { run, saturate, many, crowd }

process.on('message', (/** @type {{ task: keyof typeof tasks, orders: any }} */ { task, orders }) => {
  tasks[task](orders).then((result) => process.send?.({ result }), (error) => process.send?.({ error: String(error?.stack ?? error) }))
})
