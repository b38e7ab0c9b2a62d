/**
 * The host runs jobs on a thread. A piscina task starts the host and returns; the host takes jobs from our port from
 * then on, one at a time, in order, and posts at once how each ended. piscina owns the thread; the host owns the
 * conversation.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { Context } from './context.ts'
import { asTransfer, type JobFunction, type Jobs, type Transferable } from './jobs.ts'
import { loadJob, loadJobs } from './load.ts'
import { threadMark, type Refuse } from './mark.ts'
import {
  COMPLETED, FAILED, SKIPPED, UNCLONEABLE, type FromHost, type Handover, type HostData, type ToHost, type TraceCarrier
} from './protocol.ts'
import { assignment, start } from './slots.ts'
import type { RunInTrace } from './trace.ts'
import { fromWire, toWire } from './wire-error.ts'
import { isMoved, uncloneablePath } from './cloneable.ts'

/** Resolves when the host takes jobs, or can't load them. */
export default async function host (data: HostData): Promise<void> {
  let jobs: Jobs
  const functions: Array<JobFunction | undefined> = []
  let refused = false
  const post = poster(data)
  const refuse: Refuse = (error) => {
    refused = true
    post({ broken: toWire(error), what: error.message })
  }
  // Posted at once: an app that fails to start may end its process, which here is the thread.
  (globalThis as { [threadMark]?: Refuse })[threadMark] = refuse
  try {
    jobs = await loadJobs(data.url, data.names)
    if (data.preload) functions.push(...await Promise.all(data.names.map((name) => loadJob(jobs, name))))
    // An app that the jobs file starts and doesn't await, as is the custom, gets to our plugin within a turn.
    await turn()
  } catch (error) {
    refuse(error as Error)
    return
  }
  if (refused) return
  new Host(data, jobs, functions, post).listen()
}

type Post = (message: FromHost, transferList?: readonly Transferable[]) => void

/**
 * Creates the function through which every message of the thread is posted. It counts the messages, because the main
 * thread counts them too.
 */
function poster ({ port, slots: { outcomes } }: HostData): Post {
  let posted = 0
  return (message, transferList) => {
    const slot = Array.isArray(message) ? message[0] : undefined
    const ordinal = posted + 1
    if (slot !== undefined) outcomes[slot] = ordinal
    port.postMessage(message, transferList)
    posted++
    // A getter of the result has posted a line meanwhile.
    if (slot !== undefined && posted !== ordinal) outcomes[slot] = posted
  }
}

class Host {
  readonly #data: HostData
  readonly #jobs: Jobs
  readonly #functions: Array<JobFunction | undefined>
  readonly #queue: Handover[] = []
  readonly #post: Post
  #isRunning = false
  /** The context of the job that runs. */
  #current: Context | undefined
  /** Loaded with the first job that has a trace. */
  #runInTrace: RunInTrace | undefined

  constructor (data: HostData, jobs: Jobs, functions: Array<JobFunction | undefined>, post: Post) {
    this.#data = data
    this.#jobs = jobs
    this.#functions = functions
    this.#post = post
  }

  listen (): void {
    const { port, slots: { read } } = this.#data
    let count = 0
    port.on('messageerror', (error: unknown) => {
      read[0] = ++count
      this.#post({ unread: count, error: toWire(error) })
    })
    port.on('message', (message: ToHost) => {
      read[0] = ++count
      if (Array.isArray(message)) {
        this.#queue.push(message)
        if (!this.#isRunning) void this.#drain()
      } else if (this.#current?.seq === message.abort) {
        this.#current.abort(fromWire(
          message.reason))
      } // Otherwise the job has ended meanwhile.
    })
    this.#post({ ready: true })
  }

  async #drain (): Promise<void> {
    this.#isRunning = true
    for (let jobs = this.#queue.shift(); jobs !== undefined; jobs = this.#queue.shift()) {
      const carriers = jobs.length % 2 === 1 ? jobs.pop() as Array<TraceCarrier | undefined> : undefined
      for (let at = 0; at < jobs.length; at += 2) {
        const payload = jobs[at + 1]
        jobs[at + 1] = undefined // The batch must not keep what a long job has let go of.
        // Synchronous jobs follow each other without a turn of the event loop: it would cost more than a short job.
        const pending = this.#run(jobs[at] as number, payload, carriers?.[at / 2])
        if (pending !== undefined) await pending
      }
    }
    this.#isRunning = false
  }

  #run (slot: number, payload: unknown, carrier: TraceCarrier | undefined): Promise<void> | undefined {
    const { slots, names } = this.#data
    if (!start(slots, slot)) {
      this.#post([slot, SKIPPED, undefined, 0])
      return undefined
    }
    const assigned = assignment(slots, slot)
    const context = this.#current = new Context(names[assigned.job] as string, assigned, slots, slot, this.#post)
    const job = this.#functions[assigned.job]
    const isLoaded = job !== undefined && (carrier === undefined || this.#runInTrace !== undefined)
    return isLoaded
      ? this.#call(context, job, payload, carrier)
      : this.#loadAndCall(context, assigned.job, payload, carrier)
  }

  /** On a replacement thread: a job is loaded by the first that needs it, so that the others needn't wait for it. */
  async #loadAndCall (context: Context, index: number, payload: unknown,
    carrier: TraceCarrier | undefined): Promise<void> {
    try {
      this.#functions[index] ??= await loadJob(this.#jobs, context.name)
      if (carrier !== undefined) this.#runInTrace ??= await (await import('./trace.ts')).loadRunInTrace()
    } catch (error) {
      this.#fail(context, error, 0)
      return
    }
    await this.#call(context, this.#functions[index], payload, carrier)
  }

  #call (context: Context, job: JobFunction, payload: unknown,
    carrier: TraceCarrier | undefined): Promise<void> | undefined {
    const began = performance.now()
    let result: unknown
    try {
      if (carrier === undefined || this.#runInTrace === undefined) result = job(payload as never, context)
      else result = this.#runInTrace(carrier, () => job(payload as never, context))
      if (isThenable(result)) return this.#settle(context, result, began)
    } catch (error) {
      this.#fail(context, error, performance.now() - began)
      return undefined
    }
    this.#complete(context, result, performance.now() - began)
    return undefined
  }

  /**
   * Uses `await`, because a `then` of the job's own making may call back twice, and would end the next job with the
   * result of this one.
   */
  async #settle (context: Context, result: unknown, began: number): Promise<void> {
    let value: unknown
    try {
      value = await result
    } catch (error) {
      this.#fail(context, error, performance.now() - began)
      return
    }
    this.#complete(context, value, performance.now() - began)
  }

  #complete (context: Context, result: unknown, durationMs: number): void {
    this.#end(context)
    let value = result
    let transferList: readonly Transferable[] = []
    try {
      ({ value, transferList } = asTransfer(result) ?? { value, transferList })
      if (!Array.isArray(
        transferList)) {
        throw new TypeError(
          'The second argument of transfer() is an array of ArrayBuffers and MessagePorts')
      }
      if (isMoved(
        value)) {
        throw new TypeError(
          'piscina\'s move() has no effect here: return transfer(value, [buffer]) of fastify-concurrency/jobs')
      }
      this.#post([context.slot, COMPLETED, value, durationMs], transferList)
    } catch (error) {
      const path = isMoved(value) ? (error as Error).message : uncloneablePath(value, 'result', transferList, error)
      this.#post([context.slot, UNCLONEABLE, { path, cause: toWire(error) }, durationMs])
    }
  }

  #fail (context: Context, error: unknown, durationMs: number): void {
    this.#end(context)
    this.#post([context.slot, FAILED, toWire(error), durationMs])
  }

  #end (context: Context): void {
    context.end()
    this.#current = undefined
  }
}

function isThenable (value: unknown): boolean {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}
