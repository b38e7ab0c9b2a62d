/**
 * Takes a sample each second, keeps those of the last hour for pages that are opened later, and says what open pages
 * are sent.
 */
import type { FastifyInstance } from 'fastify'
import type { MetricsSnapshot } from '../metrics/index.ts'
import { logSafely } from '../shared/log.ts'
import { History, Hour } from './history.ts'
import { Incidents } from './incidents.ts'
import { runningJobs } from './running-jobs.ts'
import { sampleOf, type Reading } from './sample.ts'
import { readStored, storedTasksOf, type Stored } from './stored-tasks.ts'
import { event, type Streams } from './streams.ts'
import { Watch, type Status } from './status/watch.ts'
import { clientNames, Who } from './status/who.ts'

/** The time between two samples, in ms. */
const INTERVAL_MS = 1_000
/** Readings over which percentiles are taken. */
const PERCENTILE_READINGS = 10

export class Feed {
  readonly #app: FastifyInstance
  readonly #streams: Streams
  readonly #incidents: Incidents
  readonly #nameOf: (key: string) => string
  readonly #who: Who
  readonly #watch: Watch
  #status: Status | undefined
  #isAsking = false
  /** The latest answer of Redis, while a page is open. */
  #stored: Stored | undefined
  /** The event with that answer, until it is sent. */
  #storedEvent = ''
  readonly #read: () => MetricsSnapshot
  readonly #process: string
  readonly #readings: Reading[] = []
  /** Samples as JSON: each is made into text once, however many pages there are. */
  readonly #minutes = new History()
  readonly #hour = new Hour()
  /** The first event of a stream, once it was asked for since the last sample. */
  #hello: Buffer | undefined
  #timer: NodeJS.Timeout | undefined

  /**
   * @param process names the process, which the requests of the page are for
   * @param showKeys whether the page shows keys of clients, and not digests of them
   */
  constructor (app: FastifyInstance, streams: Streams, read: () => MetricsSnapshot, process: string,
    showKeys = false) {
    this.#app = app
    this.#streams = streams
    this.#nameOf = clientNames(showKeys)
    this.#who = new Who(app.server, this.#nameOf)
    this.#watch = new Watch(app.server, this.#who)
    this.#incidents = new Incidents(app, (subject) => this.#who.mostRefused(subject))
    this.#read = read
    this.#process = process
  }

  start (): void {
    this.#readings.push({ at: performance.now(), metrics: this.#read() })
    this.#timer = setInterval(() => this.#tickSafely(), INTERVAL_MS).unref()
  }

  /**
   * The first event of a stream: what a page needs that has just been opened. Pages share the bytes, since they may be
   * many and slow to read.
   */
  get hello (): Buffer {
    const incidents = JSON.stringify(this.#incidents.kept)
    const status = this.#status === undefined ? '' : event('status', this.#status)
    this.#hello ??= Buffer.from(`retry: 2000\nevent: hello\ndata: {"process":${JSON.stringify(this.#process)},` +
      `"samples":${this.#minutes.json},"incidents":${incidents}}\n\n${status}`)
    return this.#hello
  }

  /** The samples of the last hour, as JSON. A page asks for them if its user does. */
  get hour (): string {
    return `{"samples":${this.#hour.history.json}}`
  }

  /**
   * What the application hands to the page (ids, progress, names) is of any kind, and nobody is above a timer to catch.
   */
  #tickSafely (): void {
    try {
      this.tick()
    } catch (err) {
      logSafely(this.#app.log, 'error', { err }, 'dashboard: a sample could not be taken')
    }
  }

  tick (): void {
    const before = this.#readings.at(-1)
    const after = { at: performance.now(), metrics: this.#read() }
    this.#readings.push(after)
    if (this.#readings.length > PERCENTILE_READINGS + 1) this.#readings.shift()
    const [first = after] = this.#readings
    const taken = sampleOf(first, before ?? first, after, Date.now())
    const sample = JSON.stringify(taken)
    this.#minutes.add(sample)
    const coarse = this.#hour.add(taken, before ?? first, after)
    this.#who.tick()
    if (this.#streams.size === 0) this.#stored = undefined
    this.#status = this.#watch.statusAfter(taken, this.#stored)
    const incidents = this.#take()
    if (this.#streams.size === 0) return
    const jobs = event('jobs', runningJobs(this.#app.server, this.#nameOf))
    const who = event('who', { keys: this.#who.keys(), waiting: this.#who.waiting })
    const status = event('status', this.#status)
    const hour = coarse === undefined ? '' : `event: coarse\ndata: ${coarse}\n\n`
    this.#streams.broadcast(
      `event: sample\ndata: ${sample}\n\n${hour}${status}${jobs}${who}${this.#storedEvent}${incidents}`)
    this.#storedEvent = ''
    void this.#askStored()
  }

  /** Asks Redis what is stored, one question at a time. The pages get the answer with the next message. */
  async #askStored (): Promise<void> {
    const tasks = storedTasksOf(this.#app)
    if (this.#isAsking || tasks === undefined) return
    this.#isAsking = true
    this.#stored = await readStored(tasks)
    this.#storedEvent = event('stored', this.#stored)
    this.#isAsking = false
  }

  /** Adds a line to the incidents. */
  note (subject: string, reason: string): void {
    this.#incidents.note(subject, reason)
  }

  /** A phase of the shutdown has begun. */
  enter (phase: string): void {
    this.#streams.broadcast(event('status', this.#watch.statusIn(phase)) + this.#take())
  }

  /** The application closes: tells the pages, which then look for the process that follows. Idempotent. */
  end (): void {
    this.close()
    this.#streams.end(this.#take() + event('goodbye', { at: Date.now() }))
  }

  /** Returns the event of the incidents since the last call, or nothing. */
  #take (): string {
    const incidents = this.#incidents.take()
    this.#hello = undefined
    return incidents.length === 0 ? '' : event('incidents', incidents)
  }

  close (): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#incidents.close()
    this.#watch.close()
    this.#who.close()
  }
}
