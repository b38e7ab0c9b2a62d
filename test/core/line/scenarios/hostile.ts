/**
 * Hostile keys beside honest ones, from the 10th to the 25th second: the honest keep what they are entitled to, and
 * afterwards nothing is left.
 */
import { fixed, type Simulated, type Source } from '../simulation.ts'
import { product, stream, type Family, type Run, type Scenario } from './scenario.ts'

const FROM = 10_000
const UNTIL = 25_000
const DURATION = 42_000
/** The attack, and what comes two seconds after it. */
const windows = [[FROM, UNTIL], [UNTIL + 2_000, DURATION - 2_000]] as const

/** The load that a hostile key adds. At the end of the attack all its clients leave. */
const attacks = {
  stays: (ms, threads) => stream(3, ms, threads, {}),
  'leaves at once': (ms, threads) => stream(3, ms, threads, { patience: 0 }),
  'leaves after 150 ms': (ms, threads) => stream(3, ms, threads, { patience: 150 }),
  'leaves after 1 s': (ms, threads) => stream(3, ms, threads, { patience: 1_000 }),
  // The least that is counted as evidence, as often as the key can.
  drips: (ms) => ({ length: fixed(ms), rate: 8, regular: true, patience: 110 })
} satisfies Record<string, (ms: number, threads: number) => Source>
type Attack = keyof typeof attacks
const attackNames = Object.keys(attacks) as Attack[]

interface Honest {
  ms: number
  keys: number
  /** What they ask for ÷ what the threads can do, if it is less. */
  load?: number
  source: (threads: number) => Source
}

const closed = (perThread: number, ms: number, more: Partial<Source> = {}): Honest['source'] => (threads) =>
  ({ length: fixed(ms), clients: perThread * threads, keys: Infinity, key: 'client', spread: 200, ...more })
const open = (load: number, keys: number, ms: number, patience: number): Honest['source'] => (threads) =>
  stream(load, ms, threads, { keys, patience })

const honest: Record<string, Honest> = {
  '6 clients a thread': { ms: 300, keys: 6, source: closed(6, 300) },
  '5 clients a thread that think': { ms: 300, keys: 5, source: closed(5, 300, { think: 500 }) },
  '15 clients a thread': { ms: 300, keys: 15, source: closed(15, 300) },
  '6 clients a thread of short jobs': { ms: 50, keys: 6, source: closed(6, 50, { patience: 5_000, retry: 'after' }) },
  '7 keys at 0.6x': { ms: 50, keys: 7, load: 0.6, source: open(0.6, 7, 50, 1_000) },
  '7 keys at 0.45x of short jobs': { ms: 10, keys: 7, load: 0.45, source: open(0.45, 7, 10, 300) },
  'own keys at 0.6x': { ms: 50, keys: Infinity, load: 0.6, source: open(0.6, Infinity, 50, 1_000) },
  '40 keys at 3x': { ms: 50, keys: 40, source: open(3, 40, 50, 1_000) }
}
const loads: [name: string, threads: number][] = [
  ...Object.keys(honest).map((name): [string, number] => [name, 2]),
  ...['6 clients a thread', '6 clients a thread of short jobs', '7 keys at 0.6x', 'own keys at 0.6x', '40 keys at 3x']
    .map((name): [string, number] => [name, 8])
]

const attack = (kind: Attack, index: number, ms: number, threads: number): Source =>
  ({ ...attacks[kind](ms, threads), from: FROM, until: UNTIL, end: UNTIL, key: `hostile ${index}` })

/**
 * What honest keys get during the attack, and after it: of the threads, or of what they ask for if that is less.
 * Clients that wait for answers always ask.
 */
function shares ({ windows }: Simulated, isClosed: boolean): [during: number, after: number] {
  return windows.map(({ each }) => isClosed ? each[0]!.useful : each[0]!.satisfied) as [number, number]
}

/** The runs without an attack: they are the same for all attacks. */
const alone = new WeakMap<Run, Map<string, [number, number]>>()

function without (run: Run, name: string, threads: number): [during: number, after: number] {
  const known = alone.get(run) ?? new Map<string, [number, number]>()
  alone.set(run, known)
  const load = `${name} ${threads}`
  const source = honest[name]!.source(threads)
  const shared = known.get(load) ??
    shares(run({ threads, duration: DURATION, windows, sources: [source] }), source.clients !== undefined)
  known.set(load, shared)
  return shared
}

function scenarios (count: number, isOverload: boolean): Scenario[] {
  return product<[[string, number], Attack]>(loads, attackNames)
    .filter(([[name]]) => (name === '40 keys at 3x') === isOverload)
    .map(([[name, threads], kind]) => ({
      name: `${name} beside ${count} that ${kind}, ${threads} threads`,
      figures (run) {
        const { ms, keys, load = 1, source: sourceOf } = honest[name]!
        const source = sourceOf(threads)
        const sources = [source, ...Array.from({ length: count }, (_, index) => attack(kind, index, ms, threads))]
        const result = run({ threads, duration: DURATION, windows, sources })
        const [during, after] = shares(result, source.clients !== undefined)
        const [duringAlone, afterAlone] = without(run, name, threads)
        // Clients have a key each.
        const honestKeys = source.clients ?? keys
        const fair = honestKeys === Infinity ? 1 : honestKeys / (honestKeys + count)
        const entitled = Math.min(duringAlone, fair / load)
        return { kept: during / entitled, after: after / afterAlone }
      }
    }))
}

const whole = { kept: { atLeast: 0.97 }, after: { atLeast: 0.99 } }
const overloaded = { kept: { atLeast: 0.8 }, after: { atLeast: 0.99 } }
const each = { kept: { atLeast: 0.9 }, after: { atLeast: 0.97 } }

export const oneHostile: Family = {
  name: 'one hostile key', scenarios: scenarios(1, false), mean: whole, each, every: 3
}
export const threeHostile: Family = {
  name: 'three hostile keys', scenarios: scenarios(3, false), mean: whole, each, every: 6
}
export const oneHostileOverload: Family = {
  name: 'one hostile key in an overload', scenarios: scenarios(1, true), mean: overloaded, every: 2
}
/** Three floods of an overloaded pool are three keys of 43 that ask for more than their share. */
export const threeHostileOverload: Family = {
  name: 'three hostile keys in an overload',
  scenarios: scenarios(3, true),
  mean: { kept: { atLeast: 0.6 }, after: { atLeast: 0.99 } },
  each: { kept: { atLeast: 0.4 }, after: { atLeast: 0.97 } },
  every: 2
}
