/**
 * Clients with addresses of their own, which the pool takes for different clients. A group's clients act alike: each asks again once it has its
 * answer (closed loop), or requests arrive whatever the server's state (open loop). lib/cell.mjs sends the orders.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Connections } from './connections.mjs'
import { random } from './random.mjs'

/**
 * @typedef {object} Group
 * @property {string} name
 * @property {number} clients
 * @property {string} path
 * @property {number} [from] s after the beginning of the run, 0 by default
 * @property {number} to s, after which nobody asks
 * @property {number} patience ms after which a client gives up
 * @property {number} [think] closed loop: ms between an answer and the client's next request
 * @property {number} [rate] open loop: requests a second of each client, as a Poisson process
 * @property {number} [every] open loop: ms between requests of the group
 * @property {number} [burst] requests of the group at the instant `from`
 * @property {boolean} [fresh] each request of the group comes from an address that was never seen before
 *
 * @typedef {{ port: number, groups: Group[] }} Orders
 *
 * @typedef {object} Answer
 * @property {number} client
 * @property {number} at s after the beginning of the run
 * @property {number} ms until the answer, or until the client gave up
 * @property {import('./connections.mjs').Ending} ending
 */

/** ms after which a client of a closed loop asks again if it was refused. */
const RETRY = 200

/** The instants, in ms after the group's first, at which requests of an open loop arrive. */
function * arrivals (/** @type {Group} */ { clients, rate = 0, every, burst }, /** @type {() => number} */ rng) {
  if (burst !== undefined) for (let i = 0; i < burst; i++) yield 0
  else if (every !== undefined) for (let at = 0; ; at += every) yield at
  else for (let at = 0; ;) yield at += -Math.log(1 - rng()) * 1_000 / (rate * clients)
}

/** @param {Orders} orders @returns {Promise<Record<string, Answer[]>>} */
export async function crowd ({ port, groups }) {
  const began = performance.now()
  const clock = () => performance.now() - began

  /** @param {Group} group @param {number} network */
  async function play (group, network) {
    const { clients, path, from = 0, to, patience, think, fresh = false } = group
    const end = to * 1_000
    /** @type {Answer[]} */
    const answers = []
    /** @type {Map<number, Connections>} */
    const connections = new Map()
    const ask = async (/** @type {number} */ client, /** @type {number} */ at) => {
      const known = connections.get(client) ?? new Connections(port, `127.${network}.${client >> 8}.${client & 255}`)
      if (!fresh) connections.set(client, known)
      const ending = await known.get(path, { patience })
      if (fresh) known.close()
      answers.push({ client, at: at / 1_000, ms: clock() - at, ending })
      return ending
    }

    const closedLoop = async (/** @type {number} */ client, /** @type {number} */ think) => {
      while (clock() < end) {
        const ending = await ask(client, clock())
        await sleep(ending === 200 || ending === 'gaveUp' ? think : RETRY)
      }
    }

    const openLoop = async () => {
      const rng = random(network)
      /** @type {Array<Promise<unknown>>} */
      const pending = []
      let count = 0
      for (const instant of arrivals(group, rng)) {
        const at = from * 1_000 + instant
        if (at >= end) break
        if (at > clock()) await sleep(Math.max(0, at - clock()))
        const client = fresh || group.burst !== undefined ? count : Math.floor(rng() * clients)
        count++
        pending.push(ask(1 + (fresh ? client : client % clients), at))
      }
      await Promise.all(pending)
    }

    await sleep(Math.max(0, from * 1_000 - clock()))
    if (think === undefined) await openLoop()
    else await Promise.all(Array.from({ length: clients }, (_, client) => closedLoop(client + 1, think)))
    for (const each of connections.values()) each.close()
    return answers
  }

  return Object.fromEntries(await Promise.all(groups.map(async (group, index) => [group.name, await play(group, index + 1)])))
}
