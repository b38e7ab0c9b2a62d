/** Who causes the load: which keys hold the threads, wait for them, and are refused. */
import { createHmac, randomBytes } from 'node:crypto'
import { listen } from '../../channel-messages.ts'
import { countsOf } from '../../core/ledger/counts.ts'
import { sum } from '../sample.ts'
import { Tally } from './tally.ts'

/** What a key has done in the last minute. */
export interface ShownKey {
  /** The key, or a digest of it. Empty for work that has no key, as of jobs outside of requests. */
  client: string
  /** The share of the pools' thread time that its jobs took, from 0 to 1. */
  work: number
  /** Its jobs that wait now. */
  waiting: number
  /** Its jobs and requests that were refused. */
  refused: number
}

/** Jobs that wait now, of a name and a key. */
export interface ShownWaiting {
  pool: string
  name: string
  client: string
  count: number
}

/** The keys that are remembered of each ten seconds: of all work, and of the refusals of one subject. */
const MAX_KEYS = 100
const MAX_KEYS_OF_SUBJECT = 20
/** Subjects, such as `job search`, whose refusals are counted by key; clients may choose no names of jobs or limits. */
const MAX_SUBJECTS = 30
const MAX_SHOWN = 8
/** The share of the refusals of a subject from which on its first line names the client. */
const MAIN_SHARE = 0.4

/**
 * Returns a function that names a key for the page. Addresses are few enough to be found by trying them all, so their
 * digests have a secret of the process.
 */
export function clientNames (showKeys: boolean): (key: string) => string {
  const secret = randomBytes(16)
  return (key) => {
    if (key === '') return ''
    return showKeys ? key.slice(0, 100) : createHmac('sha256', secret).update(key).digest('hex').slice(0, 8)
  }
}

export class Who {
  readonly #server: object
  readonly #nameOf: (key: string) => string
  readonly #work = new Tally(MAX_KEYS)
  readonly #refused = new Tally(MAX_KEYS)
  readonly #refusedOf = new Map<string, Tally>()
  readonly #unlisten: Array<() => void>
  /** The jobs that waited at the last tick, by pool, name and key, the largest group first. */
  #waiting: Array<{ pool: string, name: string, key: string, count: number }> = []

  constructor (server: object, nameOf: (key: string) => string) {
    this.#server = server
    this.#nameOf = nameOf
    this.#unlisten = [
      listen(server, 'fastify-concurrency:workers:refused', ({ name, key }) => this.#count(`job ${name}`, key)),
      listen(server, 'fastify-concurrency:limiter:refused', ({ policy, key }) => this.#count(`limit ${policy}`, key)),
      listen(server, 'fastify-concurrency:loop:refused', ({ key }) => this.#count('request', key))
    ]
  }

  /** Looks, once a second, at who holds the threads and who waits for them. */
  tick (now = performance.now()): void {
    const waiting = new Map<string, { pool: string, name: string, key: string, count: number }>()
    for (const { pool, view } of countsOf(this.#server).views()) {
      for (const { key } of view.running()) this.#work.add(key, now)
      for (const { name, key } of view.waiting()) {
        const id = JSON.stringify([pool, name, key])
        const group = waiting.get(id) ?? { pool, name, key, count: 0 }
        waiting.set(id, group)
        group.count++
      }
    }
    this.#waiting = [...waiting.values()].sort((a, b) => b.count - a.count)
  }

  /** The keys with the most refusals and the most work of the last minute. */
  keys (now = performance.now()): ShownKey[] {
    const work = new Map(this.#work.top(now))
    const refused = new Map(this.#refused.top(now))
    const all = this.#work.total(now)
    const firsts = [work, refused].flatMap((counts) => [...counts].slice(0, MAX_SHOWN / 2).map(([key]) => key))
    return [...new Set(firsts)].map((key) => ({
      client: this.#nameOf(key),
      work: Math.round(100 * (work.get(key) ?? 0) / Math.max(1, all)) / 100,
      waiting: sum(this.#waiting.filter((group) => group.key === key).map(({ count }) => count)),
      refused: refused.get(key) ?? 0
    })).sort((a, b) => b.refused - a.refused || b.work - a.work)
  }

  /** The groups of waiting jobs with the most members. */
  get waiting (): ShownWaiting[] {
    return this.#waiting.slice(0, MAX_SHOWN).map(({ key, ...group }) => ({ ...group, client: this.#nameOf(key) }))
  }

  /** The client that most of a subject's refusals of the last minute are of, if one stands out. */
  mostRefused (subject: string, now = performance.now()): { client: string, share: number } | undefined {
    const tally = this.#refusedOf.get(subject)
    const [[key, count] = ['', 0]] = tally?.top(now) ?? []
    const share = count / Math.max(1, tally?.total(now) ?? 0)
    return key === '' || share < MAIN_SHARE ? undefined : { client: this.#nameOf(key), share }
  }

  close (): void {
    for (const unlisten of this.#unlisten.splice(0)) unlisten()
  }

  #count (subject: string, key: string): void {
    const now = performance.now()
    this.#refused.add(key, now)
    let tally = this.#refusedOf.get(subject)
    if (tally === undefined) {
      if (this.#refusedOf.size >= MAX_SUBJECTS) return
      this.#refusedOf.set(subject, tally = new Tally(MAX_KEYS_OF_SUBJECT))
    }
    tally.add(key, now)
  }
}
