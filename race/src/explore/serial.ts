/**
 * The invariant 'serial' of an exploration: responses and state are those of the requests one after the other, in some order
 * (linearizability). What differs between two runs of one serial order, an id that is made anew, is not compared, nor are times.
 */
import { types } from 'node:util'
import type { LightMyRequestResponse } from 'fastify'
import { isTime } from '../proxies/alike.ts'
import type { Collection } from '../shadow.ts'
import { Tracked, unwrap } from '../tracked.ts'

/** More requests have too many orders. */
export const MOST_SERIAL = 4

const DEEPEST = 6

type Outcome = ReadonlyMap<string, string>

/** Returns responses and state as texts by path. Lists and collections count without their order: serial requests may append in another one. */
export function outcomeOf (responses: readonly LightMyRequestResponse[], collections: ReadonlySet<Collection>): Map<string, string> {
  const outcome = new Map<string, string>()
  responses.forEach(({ statusCode, body }, index) => {
    outcome.set(`the status of request ${index + 1}`, String(statusCode))
    outcome.set(`the answer to request ${index + 1}`, textOf(parsed(body)))
  })
  for (const collection of collections) {
    if (!(collection instanceof Tracked)) continue
    const { target, name } = collection as Tracked
    // A variable has its value in the program; what is in it is a collection of its own.
    if (Array.isArray(target) || types.isMap(target) || types.isSet(target) || Object.getPrototypeOf(target) === Object.prototype) outcome.set(name, textOf(target))
  }
  return outcome
}

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

/** What the requests lead to one after the other, in each order. Nothing is run before the first question. */
export class SerialOutcomes {
  readonly #count: number
  readonly #run: (order: readonly number[]) => Promise<Outcome>
  #known: Promise<{ outcomes: Outcome[], stable: readonly string[] }> | undefined

  /** @param run sends the requests of these indexes one after the other, to a new app */
  constructor (count: number, run: (order: readonly number[]) => Promise<Outcome>) {
    this.#count = count
    this.#run = run
  }

  /** Returns what is wrong with an outcome; undefined if some serial order leads to it. */
  async differenceOf (found: Outcome): Promise<string | undefined> {
    const { outcomes, stable } = await (this.#known ??= this.#learn())
    const differing = outcomes.map((outcome) => stable.filter((path) => outcome.get(path) !== found.get(path)))
    const [least = []] = differing.sort((a, b) => a.length - b.length)
    if (least.length === 0) return undefined
    return `no order of the requests one after the other leads to this: ${least.map((path) => `${path} is ${found.get(path) ?? 'nothing'}`).join('; ')}`
  }

  async #learn (): Promise<{ outcomes: Outcome[], stable: readonly string[] }> {
    const indexes = Array.from({ length: this.#count }, (_, index) => index)
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
