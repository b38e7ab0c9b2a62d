/**
 * Hands jobs from admission to threads. A free thread gets the next job. A thread whose jobs are short prefetches more
 * of them.
 *
 * Prefetching makes the dispatch of short jobs 12 times as fast: a message of sixteen jobs costs little more than a
 * message of one, and the thread doesn't wait between two jobs. It costs this file, a slot of shared memory for each
 * job (workers/slots.ts), and two cases:
 * - A job that takes longer than its estimate holds up the jobs behind it, so these are revoked and run elsewhere.
 * - A payload that is large or has moved would harm the other jobs of a message, so such a job goes alone.
 */
import { types } from 'node:util'
import type { Admission } from '../../core/line/admission.ts'
import type { Job } from '../job.ts'
import type { HostClient } from '../threads/host-client.ts'
import type { Threads } from '../threads/threads.ts'
import { outside, type Transitions } from '../threads/transitions.ts'

/**
 * Estimated work, in ms, that a thread is handed. More work would only wait there, where no other thread can take it.
 */
const PREFETCH_MS = 1

/**
 * When a thread has ended no job for this long, in ms, an estimate was wrong, and the jobs that the thread has not
 * started are revoked.
 */
const STALL_MS = 5

/** The time, in ms, for which payloads are cloned before others have their turn of the event loop. */
const MAX_HANDOVER_MS = 4

/**
 * The bound on a small payload, which shares a message with others, in parts: elements, fields, and hundreds of
 * characters or bytes. Cloning so many takes some ten microseconds. A message is cloned in one go, and holds the event
 * loop meanwhile.
 */
const MAX_SMALL_PARTS = 100

/** Tells whether a payload is small. It reads no more parts than a small payload has. */
function isSmall (payload: unknown): boolean {
  try {
    return left(payload, MAX_SMALL_PARTS) >= 0
  } catch { // a getter that throws
    return false
  }
}

/** Returns how many of `parts` are left after those of the value; a negative number if there are too few. */
function left (value: unknown, parts: number): number {
  if (typeof value === 'string') return parts - 1 - value.length / 100
  if (typeof value !== 'object' || value === null) return parts - 1
  if (types.isProxy(value)) return -1
  // A view is cloned with all of its buffer; shared memory isn't cloned.
  const buffer = ArrayBuffer.isView(value) ? value.buffer : value
  if (types.isSharedArrayBuffer(buffer)) return parts - 1
  if (types.isArrayBuffer(buffer)) return parts - 1 - buffer.byteLength / 100
  if (types.isMap(value) || types.isSet(value)) return -1
  let rest = parts - 1
  if (Array.isArray(value)) {
    if (value.length > rest) return -1
    for (let index = 0; index < value.length && rest >= 0; index++) rest = left(value[index], rest)
    return rest
  }
  for (const key of Object.keys(value)) {
    rest = left((value as Record<string, unknown>)[key], rest - key.length / 100)
    if (rest < 0) break
  }
  return rest
}

/**
 * Tells whether a job shares no message with others, and goes to a free thread. A job whose payload has moved can't be
 * revoked. A large payload would hold the event loop for longer with others beside it, and twice if one of those can't
 * be cloned.
 */
function goesAlone (job: Job): boolean {
  return job.transferList !== undefined || !isSmall(job.payload)
}

export class Dispatcher {
  readonly #admission: Admission<Job>
  readonly #threads: Threads
  readonly #transitions: Transitions
  #scheduled = false
  #stopped = false
  #stallTimer: NodeJS.Timeout | undefined

  constructor (admission: Admission<Job>, threads: Threads, transitions: Transitions) {
    this.#admission = admission
    this.#threads = threads
    this.#transitions = transitions
  }

  /**
   * Dispatches after all that runs now: the continuations of a burst of results ask for more jobs, and one message
   * carries many.
   */
  schedule (): void {
    if (this.#scheduled || this.#stopped || this.#admission.waiting === 0) return
    this.#scheduled = true
    process.nextTick(this.#transitions.run, this.#dispatch)
  }

  readonly #dispatch = (): void => {
    this.#scheduled = false
    if (this.#stopped) return
    const now = performance.now()
    let hasPrefetched = false
    for (const host of this.#threads.hosts) {
      const jobs = host.isFree ? this.#forFree(host, now) : this.#forBusy(host, now)
      if (jobs.length > 0) host.hand(jobs, now)
      if (host.held > 1) hasPrefetched = true
      if (jobs.length > 0 && performance.now() - now > MAX_HANDOVER_MS) {
        outside(() => setImmediate(() => this.schedule()))
        break
      }
    }
    if (hasPrefetched) this.#watchForStalls()
    if (!this.#threads.isWatching) this.#threads.watch()
  }

  #forFree (host: HostClient, now: number): Job[] {
    const job = this.#admission.take(now)
    if (job === undefined) return []
    return this.#admission.waiting === 0 ? [job] : this.#fill([job], this.#work([job]), host.capacity, now)
  }

  #forBusy (host: HostClient, now: number): Job[] {
    // A message when half of the jobs are done carries many jobs; a message for each job that ends would carry one.
    const isFilled = host.stalled || host.held === 0 || host.held > host.filled / 2
    return isFilled || this.#admission.waiting === 0 ? [] : this.#fill([], this.#work(host.jobs()), host.capacity, now)
  }

  #work (jobs: readonly Job[]): number {
    let work = 0
    for (const job of jobs) work += this.#admission.estimate(job.registered.index) ?? Infinity
    return work
  }

  /** Adds short jobs while they fit. */
  #fill (jobs: Job[], work: number, capacity: number, now: number): Job[] {
    if (work < PREFETCH_MS && jobs.some(goesAlone)) return jobs
    while (work < PREFETCH_MS && jobs.length < capacity) {
      const job = this.#admission.takeShort(now, PREFETCH_MS - work)
      if (job === undefined) break
      if (goesAlone(job)) {
        this.#admission.putBack(job)
        break
      }
      work += this.#work([job])
      jobs.push(job)
    }
    return jobs
  }

  /** Revokes jobs that wait behind a job that takes longer than its estimate, so that other threads can run them. */
  #watchForStalls (): void {
    if (this.#stallTimer !== undefined) return
    const before = new Map(this.#threads.hosts.map((host) => [host, host.outcomes]))
    const check = (): void => {
      this.#stallTimer = undefined
      if (this.#stopped) return
      const holding = this.#threads.hosts.filter(({ held }) => held > 1)
      for (const host of holding) {
        if (host.outcomes !== before.get(host)) continue
        host.stalled = true
        host.revokePrefetched()
      }
      if (holding.length > 0) this.#watchForStalls()
    }
    // After the poll phase: if it was this event loop that stood still, the threads' messages are waiting there.
    this.#stallTimer = outside(() => setTimeout(() => setImmediate(this.#transitions.run, check), STALL_MS)).unref()
  }

  stop (): void {
    this.#stopped = true
    clearTimeout(this.#stallTimer)
  }
}
