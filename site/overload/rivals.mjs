/**
 * What the simulation shows beside our admission, with the same knowledge: each hears when a client leaves, and forgets a job that waits for nobody.
 * Each is a module as test/core/line/simulation.ts takes it.
 */
import { Entry } from '../../plugins/core/line/entry.ts'

/** A queue in the order of arrival, without a bound. */
class Fifo {
  running = 0
  waiting = 0
  #queue = []
  #first = 0

  constructor (settings, onRefused) {
    this.settings = settings
    this.onRefused = onRefused
  }

  get keys () { return 0 }

  offer (entry, now) {
    entry.since = now
    this.waiting++
    this.#queue.push(entry)
    return undefined
  }

  /** The first that still waits. */
  next () {
    while (this.#first < this.#queue.length) {
      const entry = this.#queue[this.#first++]
      if (this.#first > 1_000) this.#queue.splice(0, this.#first) && (this.#first = 0)
      if (entry.since === undefined) continue
      this.waiting--
      return entry
    }
    return undefined
  }

  take () {
    const entry = this.next()
    if (entry !== undefined) this.start(entry)
    return entry
  }

  start (entry) {
    entry.since = undefined
    this.running++
  }

  leave (entry) {
    if (entry.since === undefined) return false
    entry.since = undefined
    this.waiting--
    return true
  }

  finish () { this.running-- }
}

const refusal = (reason, waiting, limit) => ({ reason, waiting, estimatedWait: 0, limit, retryAfter: 1 })

/** A bound by count: at most `most` wait. */
const bounded = (most) => class extends Fifo {
  offer (entry, now) {
    return this.waiting >= most ? refusal('count', this.waiting, most) : super.offer(entry, now)
  }
}

/**
 * CoDel (Nichols and Jacobson, 2012), which refuses at the head of the queue: when each job has waited for longer than `target` during an `interval`, it
 * drops one, and the next ones sooner and sooner.
 */
const codel = (target, interval) => class extends Fifo {
  #above = 0
  #dropping = false
  #dropAt = 0
  #count = 0

  #mayDrop (entry, now) {
    if (now - entry.since < target || this.waiting === 0) {
      this.#above = 0
      return false
    }
    if (this.#above === 0) this.#above = now + interval
    return now >= this.#above
  }

  #drop (entry) {
    entry.since = undefined
    this.onRefused(entry, refusal('shed', this.waiting, target))
  }

  take (now) {
    let entry = this.next()
    if (entry === undefined) {
      this.#dropping = false
      return undefined
    }
    let drop = this.#mayDrop(entry, now)
    if (this.#dropping && !drop) this.#dropping = false
    while (this.#dropping && now >= this.#dropAt) {
      this.#drop(entry)
      this.#count++
      entry = this.next()
      if (entry === undefined || !this.#mayDrop(entry, now)) this.#dropping = false
      else this.#dropAt += interval / Math.sqrt(this.#count)
      if (entry === undefined) return undefined
    }
    if (!this.#dropping && drop) {
      this.#drop(entry)
      entry = this.next()
      if (entry === undefined) return undefined
      drop = this.#mayDrop(entry, now)
      this.#dropping = true
      this.#count = this.#count > 2 && now - this.#dropAt < 8 * interval ? this.#count - 2 : 1
      this.#dropAt = now + interval / Math.sqrt(this.#count)
    }
    this.start(entry)
    return entry
  }
}

export const MOST = 100
export const TARGET = 100
export const INTERVAL = 500

export const rivals = [
  { name: 'this package', admission: undefined },
  { name: 'FIFO without a bound', admission: { Admission: Fifo, Entry } },
  { name: `at most ${MOST} wait`, admission: { Admission: bounded(MOST), Entry } },
  { name: `CoDel, ${TARGET} ms`, admission: { Admission: codel(TARGET, INTERVAL), Entry } }
]
