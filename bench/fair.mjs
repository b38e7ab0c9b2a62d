/**
 * Measures how fairly the pool serves its clients: equal clients, light ones, hostile ones, and bursts. The pool has default options and two
 * threads, the jobs sleep, so that other programs on the machine change little, and each client connects from an address of its own. Each
 * figure is printed beside its bar.
 *
 *   node bench/fair.mjs --only equal,hostile --seconds 10
 */
import { Clients, startServer } from './lib/cell.mjs'
import { percentile, Report } from './lib/report.mjs'
import { work } from './lib/work.mjs'

/** @typedef {import('./lib/crowd.mjs').Group} Group */
/** @typedef {import('./lib/crowd.mjs').Answer} Answer */

const THREADS = 2
/** s: an answer within this time is fast. */
const FAST = 0.5
/** ms, the patience of clients that wait for whatever comes. */
const PATIENT = 30_000
/** ms, the patience of clients of an overload. */
const PATIENCE = 1_000
/** A run after this many s is not influenced by what was before. */
const RECOVERY = 2

const report = new Report('fair', { only: 'equal,think,light,newcomer,heavy,bursts,hostile,attack,priorities,capped', seconds: '10' })
const seconds = report.number('seconds')
const clients = new Clients()

/** Runs groups of clients against a server of their own. @param {Group[]} groups */
async function play (...groups) {
  const { port, stop } = await startServer('fair', 1)
  try {
    const answers = await clients.crowd({ port, groups })
    return new Proxy(answers, { get: (all, name) => all[String(name)] ?? [] })
  } finally {
    await stop()
  }
}

/** @param {Answer[]} answers */
const served = (answers) => answers.filter(({ ending }) => ending === 200)
/** @param {Answer[]} answers */
const refused = (answers) => answers.filter(({ ending }) => ending === 503)
/** @param {Answer[]} answers that came too late for their clients, or not at all */
const inVain = (answers) => answers.filter(({ ending }) => ending !== 200 && ending !== 503)
/** @param {Answer[]} answers */
const fast = (answers) => served(answers).filter(({ ms }) => ms <= FAST * 1_000)
/** @param {Answer[]} answers @param {number} from s @param {number} to s */
const between = (answers, from, to) => answers.filter(({ at }) => at >= from && at < to)
/** @param {Answer[]} answers */
const times = (answers) => answers.map(({ ms }) => ms)

/** How many answers each client got. @param {Answer[]} answers @param {number} count of the clients */
function byClient (answers, count) {
  return Array.from({ length: count }, (_, index) => served(answers).filter(({ client }) => client === index + 1).length)
}

/** @param {string} group @param {Answer[]} answers */
function row (group, answers) {
  return {
    group,
    asked: answers.length,
    served: served(answers).length,
    fast: fast(answers).length,
    refused: refused(answers).length,
    'in vain': inVain(answers).length,
    'p50 ms': percentile(times(served(answers)), 0.5),
    'p99 ms': percentile(times(served(answers)), 0.99),
    'longest ms': percentile(times(answers), 1)
  }
}

/**
 * Clients that each ask again once they have their answer: all get the same, and nobody waits longer than two rounds.
 *
 * @param {string} title
 * @param {number} count
 * @param {number} think ms
 */
async function equals (title, count, think) {
  const ms = 300
  const { equal } = await play({ name: 'equal', clients: count, path: work(ms), to: 2 * seconds, patience: PATIENT, think })
  const each = byClient(equal, count)
  report.table(title, [row(`served by client: ${each.join(' ')}`, equal)])
  report.bar('worst client ÷ fair share', Math.min(...each) * count / served(equal).length, '>=', 0.8)
  report.bar('longest wait ÷ round', Math.max(...times(equal)) / (count * ms / THREADS), '<=', 2)
  report.bar('refused or left', equal.length - served(equal).length, '<=', 0)
}

/** @type {Group} one job in turn from each of 50 clients, who keep the threads busy */
const fifty = { name: 'fifty', clients: 50, path: work(300), to: 2 * seconds, patience: PATIENT, think: 0 }
/** @type {Group} 40 clients that together ask for three times what the threads can do */
const forty = { name: 'forty', clients: 40, path: work(50), to: 2 * seconds, patience: PATIENCE, rate: 3 }

/** @param {string} name @param {Partial<Group>} how @returns {Group} a client that asks for far more than its share */
const hostile = (name, how) => ({ name, clients: 1, path: work(50), to: seconds, patience: PATIENCE, ...how })
const ATTACKS = [
  hostile('60 a second', { rate: 60 }),
  hostile('120 a second', { rate: 120 }),
  hostile('120 a second, each for 150 ms', { rate: 120, patience: 150 })
]

const SCENARIOS = {
  equal: () => equals('Twelve equal clients, 300 ms jobs, each asks again at once', 12, 0),

  think: () => equals('Ten equal clients, 300 ms jobs, each asks again after 0.5 s', 10, 500),

  async light () {
    const loads = /** @type {const} */ ([[300, 'another name', 1], [1_000, 'another name', 1], [300, 'the same name', 10]])
    for (const [ms, name, from] of loads) {
      const path = work(0, name === 'the same name' ? 'work' : 'light')
      const to = from + 2 * seconds
      const light = { name: 'light', clients: 1, path, from, to, patience: 5_000, every: 50 }
      const answers = await play({ ...fifty, path: work(ms), to }, light)
      const title = `One client with a job of 0 ms (${name}) each 50 ms, after ${from} s, beside 50 that ask for ${ms} ms, each again at once`
      report.table(title, [row('light', answers['light']), row('the fifty', answers['fifty'])])
      report.bar('light: served %', 100 * served(answers['light']).length / answers['light'].length, '>=', 98, ' %')
    }
  },

  async newcomer () {
    const newcomers = { name: 'new', clients: 1, path: work(1), from: 10, to: 10 + 2 * seconds, patience: PATIENT, every: 330, fresh: true }
    const answers = await play({ ...fifty, to: 10 + 2 * seconds }, newcomers)
    report.table('Clients that come once, with a job of 1 ms, beside 50 that ask for 300 ms, each again at once',
      [row('newcomers', answers['new']), row('the fifty', answers['fifty'])])
    // A thread becomes free every 150 ms.
    report.bar('newcomers: p50 ÷ the time in which a thread becomes free', percentile(times(answers['new']), 0.5) / 150, '<=', 2)
    report.bar('newcomers: served %', 100 * served(answers['new']).length / answers['new'].length, '>=', 98, ' %')
  },

  async heavy () {
    const nine = { name: 'nine', clients: 9, path: work(50), to: 2 * seconds, patience: PATIENCE, rate: 2 }
    const one = { name: 'one', clients: 1, path: work(50), to: 2 * seconds, patience: PATIENCE, rate: 40 }
    const alone = await play(nine)
    const together = await play(nine, one)
    report.table('One client at ten times its share beside nine at half of theirs, 50 ms jobs',
      [row('the nine alone', alone['nine']), row('the nine beside the one', together['nine']), row('the one', together['one'])])
    report.bar('the nine: lost %', 100 - 100 * served(together['nine']).length / together['nine'].length, '<=', 1, ' %')
    const p99 = (/** @type {Answer[]} */ answers) => percentile(times(served(answers)), 0.99)
    report.bar('the nine: p99 ÷ alone', p99(together['nine']) / p99(alone['nine']), '<=', 2)
  },

  async bursts () {
    const rows = []
    let lost = 0
    let slowest = 0
    for (const [count, ms] of /** @type {const} */ ([[60, 10], [30, 100], [12, 300], [9, 900]])) {
      for (const keys of [1, 7]) {
        // The threads take jobs by turns, and the last turn may be half empty.
        const workMs = Math.ceil(count / THREADS) * ms
        const burst = { clients: keys, path: work(ms), patience: PATIENT, burst: count }
        const again = 2 * workMs / 1_000 + 1
        const groups = [{ ...burst, name: 'first', to: 1 }, { ...burst, name: 'again', from: again, to: again + 1 }]
        for (const [name, answers] of Object.entries(await play(...groups))) {
          rows.push(row(`${count} of ${ms} ms, ${keys === 1 ? 'one client' : `${keys} clients`}, ${name}`, answers))
          lost += answers.length - served(answers).length
          // The first burst comes to code that has never run.
          if (name === 'again') slowest = Math.max(slowest, Math.max(...times(answers)) / workMs)
        }
      }
    }
    report.table('Requests that come at once to an idle pool', rows)
    report.bar('refused or left', lost, '<=', 0)
    report.bar('last answer ÷ work, worst burst', slowest, '<=', 1.3)
  },

  async hostile () {
    const after = seconds + RECOVERY
    const without = (await play(forty))['forty']
    const rows = [
      row('alone, meanwhile', between(without, 0, seconds)),
      row('alone, afterwards', between(without, after, 2 * seconds))
    ]
    /** @type {Array<() => void>} */
    const bars = []
    for (const attack of ATTACKS) {
      const { forty: honest = [], [attack.name]: attacker = [] } = await play(forty, attack)
      rows.push(
        row(`beside ${attack.name}`, between(honest, 0, seconds)),
        row(`after ${attack.name}`, between(honest, after, 2 * seconds)),
        row('the attacker', attacker)
      )
      const ratio = (/** @type {number} */ from, /** @type {number} */ to) =>
        fast(between(honest, from, to)).length / fast(between(without, from, to)).length
      const vain = (/** @type {Answer[]} */ answers) => inVain(between(answers, 0, seconds)).length
      bars.push(() => {
        report.bar(`beside ${attack.name}: fast answers ÷ alone`, ratio(0, seconds), '>=', 0.7)
        // One in a hundred, as nobody alone may have left in vain.
        const most = 2 * vain(without) + Math.ceil(between(honest, 0, seconds).length / 100)
        report.bar(`beside ${attack.name}: left in vain`, vain(honest), '<=', most)
        report.bar(`after ${attack.name}: fast answers ÷ alone`, ratio(after, 2 * seconds), '>=', 0.9)
      })
    }
    const [, flood = hostile('flood', {})] = ATTACKS
    const late = { ...forty, from: seconds }
    const { forty: afterFlood } = await play(late, flood)
    rows.push(row(`first come after ${flood.name}`, afterFlood ?? []))
    report.table('40 clients at three times the capacity, 50 ms jobs, with and without one hostile client', rows)
    for (const bar of bars) bar()
    const ratio = fast(afterFlood ?? []).length / fast(between(without, 0, seconds)).length
    report.bar(`first come after ${flood.name}: fast answers ÷ alone`, ratio, '>=', 0.9)
  },

  async attack () {
    const rows = []
    /** @type {Array<[string, number]>} */
    const bars = []
    for (const attack of ATTACKS) {
      for (const rest of [0, RECOVERY]) {
        const from = seconds / 2 + rest
        const burst = { name: 'burst', clients: 7, path: work(100), from, to: seconds + RECOVERY, patience: PATIENT, burst: 30 }
        const answers = await play(burst, { ...attack, to: seconds / 2 })
        const title = `${rest} s after ${attack.name}`
        rows.push(row(title, answers['burst']))
        bars.push([title, 100 - 100 * served(answers['burst']).length / answers['burst'].length])
      }
    }
    report.table('A burst of 30 jobs of 100 ms from seven clients, after one client alone attacked the pool', rows)
    for (const [title, lost] of bars) report.bar(`${title}: lost %`, lost, '<=', 1, ' %')
  },

  async priorities () {
    const normal = { name: 'normal', clients: 12, path: work(300), to: 2 * seconds, patience: PATIENT, think: 0 }
    const low = { ...normal, name: 'low', clients: 4, path: work(300, 'later') }
    const high = { name: 'high', clients: 1, path: work(10, 'urgent'), from: 1, to: 2 * seconds, patience: 5_000, every: 500 }
    const answers = await play(normal, low, high)
    report.table('Twelve clients of priority normal and four of low, 300 ms, each asks again at once, and one of high, 10 ms',
      ['high', 'normal', 'low'].map((name) => row(name, answers[name] ?? [])))
    report.bar('high: served %', 100 * served(answers['high']).length / answers['high'].length, '>=', 98, ' %')
    report.bar('high: p50 ÷ the time in which a thread becomes free', percentile(times(answers['high']), 0.5) / 150, '<=', 2)
    const all = served(answers['normal']).length + served(answers['low']).length
    // The weights of normal and low are 4 and 1.
    report.bar('low: served ÷ its weight', served(answers['low']).length / (all / 5), '>=', 0.8)
    const worst = Math.min(...byClient(answers['normal'], 12)) * 12 / served(answers['normal']).length
    report.bar('normal: worst client ÷ fair share', worst, '>=', 0.8)
  },

  async capped () {
    const short = { name: 'short', clients: 9, path: work(5), from: 1, to: 2 * seconds, patience: 5_000, rate: 60 / 9 }
    const reports = { name: 'reports', clients: 4, path: work(300, 'report'), to: 2 * seconds, patience: PATIENT, think: 0 }
    const alone = await play(short)
    const beside = await play(short, reports)
    report.table('Jobs of 5 ms at 30 % of a thread, beside four clients of a job of 300 ms with concurrency 1',
      [row('short alone', alone['short']), row('short beside', beside['short']), row('reports', beside['reports'])])
    report.bar('short: served %', 100 * served(beside['short']).length / beside['short'].length, '>=', 100, ' %')
    report.bar('short: p50 ÷ alone', percentile(times(beside['short']), 0.5) / percentile(times(alone['short']), 0.5), '<=', 2)
    const each = byClient(beside['reports'], 4)
    report.bar('reports: worst client ÷ fair share', Math.min(...each) * 4 / served(beside['reports']).length, '>=', 0.8)
    report.bar('reports: refused or left', beside['reports'].length - served(beside['reports']).length, '<=', 0)
  }
}

for (const name of report.list('only', /** @type {Array<keyof typeof SCENARIOS>} */ (Object.keys(SCENARIOS)))) {
  await SCENARIOS[name]()
}
clients.stop()
report.end()
