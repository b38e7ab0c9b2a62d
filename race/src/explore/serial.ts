/**
 * The invariant 'serial' of an exploration: responses and state are those of the requests one after the other, in some order
 * (linearizability). What differs between two runs of one serial order, an id that is made anew, is not compared, nor are times.
 */
import { types } from 'node:util'
import type { LightMyRequestResponse } from 'fastify'
import { isTime } from '../proxies/alike.ts'
import type { Watched } from '../shadow.ts'
import { knownOf, Tracked, unwrap } from '../tracked.ts'

/** More requests have too many orders. */
export const MOST_SERIAL = 4

const DEEPEST = 6

type Outcome = ReadonlyMap<string, string>

/**
 * Returns responses and state as texts by path. State is what was there before the requests, with all that is in it, and variables and fields that
 * several requests have used. Lists and collections count without their order: serial requests may append in another one.
 */
export function outcomeOf (responses: readonly LightMyRequestResponse[], { collections, values, replaced }: Watched): Map<string, string> {
  const outcome = new Map<string, string>()
  responses.forEach(({ statusCode, body }, index) => {
    outcome.set(`the status of request ${index + 1}`, String(statusCode))
    outcome.set(`the answer to request ${index + 1}`, textOf(parsed(body)))
  })
  // Instances of a class, and objects of a list, may have one name.
  const texts = new Map<string, string[]>()
  const add = (name: string, value: unknown): void => { texts.set(name, [...texts.get(name) ?? [], textOf(value)]) }
  const whole = new Set<unknown>()
  for (const collection of collections) {
    if (!(collection instanceof Tracked)) continue
    const known = collection as Tracked
    const isWhole = knownOf(known.target) === known
    if (isWhole) for (const location of locationsOf(known)) whole.add(location)
    if (isWhole && known.isEarly && !replaced.has(known.target)) add(known.name, known.target)
  }
  for (const [location, { value, parties }] of values) if (parties.size > 1 && !whole.has(location)) add(location.name, value)
  for (const [name, all] of texts) outcome.set(name, all.sort().join(' and '))
  return outcome
}

const locationsOf = ({ locations }: Tracked): Iterable<unknown> => locations instanceof Map ? locations.values() : []

function parsed (body: string): unknown {
  try {
    return JSON.parse(body) as unknown
  } catch {
    return body
  }
}

function textOf (value: unknown, depth = 0): string {
  const raw = unwrap(value)
  if (isTime(raw)) return 'a time'
  if (typeof raw === 'function') return 'a function'
  if (typeof raw !== 'object' || raw === null) return JSON.stringify(raw) ?? String(raw)
  if (depth > DEEPEST || types.isProxy(raw)) return 'an object'
  const sorted = (elements: Iterable<unknown>): string => Array.from(elements, (element) => textOf(element, depth + 1)).sort().join()
  if (types.isMap(raw)) return `Map(${sorted(Map.prototype.entries.call(raw))})`
  if (types.isSet(raw)) return `Set(${sorted(Set.prototype.values.call(raw))})`
  if (Array.isArray(raw)) return `[${sorted(raw)}]`
  if (![Object.prototype, null].includes(Object.getPrototypeOf(raw) as object | null)) return 'an object'
  const fields = Object.entries(Object.getOwnPropertyDescriptors(raw)).filter(([, { get }]) => get === undefined)
  return `{${fields.map(([key, field]) => `${key}:${textOf(field.value, depth + 1)}`).sort().join()}}`
}

function * permutations (items: readonly number[]): Generator<number[]> {
  if (items.length === 0) yield []
  for (const item of items) for (const rest of permutations(items.filter((other) => other !== item))) yield [item, ...rest]
}

/** Answers that tell a client to try again later: such a request may be one that was not sent. */
const TRY_AGAIN = new Set(['409', '423', '425', '429', '503'])

/** What some serial orders lead to, and the paths that two runs of one order agree on. */
interface Known {
  readonly outcomes: readonly Outcome[]
  readonly stable: readonly string[]
}

/** What the requests lead to one after the other, in each order. Nothing is run before the first question. */
export class SerialOutcomes {
  readonly #count: number
  readonly #run: (order: readonly number[]) => Promise<Outcome>
  readonly #known = new Map<string, Promise<Known>>()

  /** @param run sends the requests of these indexes one after the other, to a new app */
  constructor (count: number, run: (order: readonly number[]) => Promise<Outcome>) {
    this.#count = count
    this.#run = run
  }

  /** Returns what is wrong with an outcome; undefined if some serial order leads to it. */
  async differenceOf (found: Outcome): Promise<string | undefined> {
    const all = Array.from({ length: this.#count }, (_, index) => index)
    const least = await this.#differing(all, found)
    if (least.length === 0) return undefined
    const served = all.filter((index) => !TRY_AGAIN.has(found.get(`the status of request ${index + 1}`) ?? ''))
    if (served.length < all.length && (await this.#differing(served, found)).length === 0) return undefined
    return `no order of the requests one after the other leads to this: ${least.map((path) => `${path} is ${found.get(path) ?? 'nothing'}`).join('; ')}`
  }

  /** Returns the paths in which an outcome differs from the serial order of these requests that comes nearest. */
  async #differing (indexes: readonly number[], found: Outcome): Promise<readonly string[]> {
    const key = indexes.join()
    const known = this.#known.get(key) ?? this.#learn(indexes)
    this.#known.set(key, known)
    const { outcomes, stable } = await known
    // What only one of the two has used may be the same in the other.
    const differing = outcomes.map((outcome) => stable.filter((path) => outcome.has(path) && found.has(path) && outcome.get(path) !== found.get(path)))
    return differing.sort((a, b) => a.length - b.length)[0] ?? []
  }

  async #learn (indexes: readonly number[]): Promise<Known> {
    const again = await this.#inOrder(indexes)
    const outcomes: Outcome[] = []
    for (const order of permutations(indexes)) outcomes.push(await this.#inOrder(order))
    const paths = new Set(outcomes.flatMap((outcome) => [...outcome.keys()]))
    return { outcomes, stable: [...paths].filter((path) => again.get(path) === outcomes[0]?.get(path)) }
  }

  /** Runs an order, and gives each response back its request. */
  async #inOrder (order: readonly number[]): Promise<Outcome> {
    const outcome = await this.#run(order)
    return new Map([...outcome].map(([path, text]) => [path.replace(/(?<=of request |to request )\d+$/, (place) => String((order[Number(place) - 1] ?? 0) + 1)), text]))
  }
}
