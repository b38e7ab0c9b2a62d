/**
 * The long-lived piscina task that runs jobs on a thread: takes them from our port, one at a time, in order, and says of each how
 * it ended, at once. piscina owns the thread; this owns the conversation.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { Context } from './context.ts'
import { asTransfer, type JobFunction, type Jobs, type Transferable } from './jobs.ts'
import { loadJob, loadJobs } from './load.ts'
import { threadMark, type Refuse } from './mark.ts'
import { COMPLETED, FAILED, HANDOVER_WIDTH, SKIPPED, UNCLONEABLE, type FromHost, type Handover, type HostData, type ToHost } from './protocol.ts'
import { assignment, start } from './slots.ts'
import { fromWire, toWire, type WireError } from './wire-error.ts'
import { uncloneablePath } from './cloneable.ts'

/** Resolves when the host is told to park. */
export default async function host (data: HostData): Promise<void> {
  let jobs: Jobs
  const functions: Array<JobFunction | undefined> = []
  let refused = false
  const post = poster(data)
  const refuse: Refuse = (error) => {
    refused = true
    post({ broken: toWire(error), what: error.message })
  }
  // Told at once: an app that fails to start may end its process, which here is the thread.
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
  await new Host(data, jobs, functions, post).parked
}

type Post = (message: FromHost, transferList?: readonly Transferable[]) => void

/** All that a thread says to the main thread goes through one of these, since the main thread counts what comes. */
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

interface Current {
  readonly seq: number
  readonly slot: number
  readonly context: Context
}

class Host {
  readonly parked: Promise<void>
  readonly #data: HostData
  readonly #jobs: Jobs
  readonly #functions: Array<JobFunction | undefined>
  readonly #queue: Handover[] = []
  readonly #post: Post
  #running = false
  #current: Current | undefined

  constructor (data: HostData, jobs: Jobs, functions: Array<JobFunction | undefined>, post: Post) {
    this.#data = data
    this.#jobs = jobs
    this.#functions = functions
    this.#post = post
    const { read } = data.slots
    let count = 0
    this.parked = new Promise((resolve) => {
      data.port.on('messageerror', (error: unknown) => {
        read[0] = ++count
        this.#post({ unread: count, error: toWire(error) })
      })
      data.port.on('message', (message: ToHost) => {
        read[0] = ++count
        if (Array.isArray(message)) this.#take(message)
        else if ('abort' in message) this.#abort(message.abort, message.reason)
        else {
          data.port.close()
          resolve()
        }
      })
    })
    this.#post({ ready: true })
  }

  #take (jobs: Handover): void {
    this.#queue.push(jobs)
    if (this.#running) return
    this.#running = true
    void this.#drain()
  }

  async #drain (): Promise<void> {
    for (let jobs = this.#queue.shift(); jobs !== undefined; jobs = this.#queue.shift()) {
      for (let at = 0; at < jobs.length; at += HANDOVER_WIDTH) {
        // Synchronous jobs follow each other without a turn of the event loop: it would cost more than a short job.
        const pending = this.#run(jobs, at)
        if (pending !== undefined) await pending
      }
    }
    this.#running = false
  }

  #run (jobs: Handover, at: number): Promise<void> | undefined {
    const slot = jobs[at] as number
    if (!start(this.#data.slots, slot)) {
      this.#post([slot, SKIPPED, undefined, 0])
      return undefined
    }
    const assigned = assignment(this.#data.slots, slot)
    const index = assigned.job
    const context = new Context(this.#data.names[index] as string, assigned, this.#data.slots, slot, this.#post)
    const current = { seq: assigned.seq, slot, context }
    this.#current = current
    const payload = jobs[at + 1]
    jobs[at + 1] = undefined // the batch must not keep what a long job has let go of
    const job = this.#functions[index]
    return job === undefined ? this.#loadAndCall(current, index, payload) : this.#call(current, job, payload)
  }

  /** On a replacement thread: a job is loaded by the first that needs it, so that the others needn't wait for it. */
  async #loadAndCall (current: Current, index: number, payload: unknown): Promise<void> {
    try {
      this.#functions[index] ??= await loadJob(this.#jobs, this.#data.names[index] as string)
    } catch (error) {
      this.#fail(current, error, 0)
      return
    }
    await this.#call(current, this.#functions[index], payload)
  }

  #call (current: Current, job: JobFunction, payload: unknown): Promise<void> | undefined {
    const began = performance.now()
    let result: unknown
    let thenable: boolean
    try {
      result = job(payload as never, current.context)
      thenable = isThenable(result)
    } catch (error) {
      this.#fail(current, error, performance.now() - began)
      return undefined
    }
    if (thenable) return this.#settle(current, result, began)
    this.#complete(current, result, performance.now() - began)
    return undefined
  }

  /** By `await`: a `then` of the job's own making, which may call back twice, would end the next job with the result of this one. */
  async #settle (current: Current, result: unknown, began: number): Promise<void> {
    let value: unknown
    try {
      value = await result
    } catch (error) {
      this.#fail(current, error, performance.now() - began)
      return
    }
    this.#complete(current, value, performance.now() - began)
  }

  #complete (current: Current, result: unknown, runMs: number): void {
    const slot = this.#end(current)
    let value = result
    let transferList: readonly Transferable[] = []
    try {
      ({ value, transferList } = asTransfer(result) ?? { value, transferList })
      if (!Array.isArray(transferList)) throw new TypeError('The second argument of transfer() is an array of ArrayBuffers and MessagePorts')
      this.#post([slot, COMPLETED, value, runMs], transferList)
    } catch (error) {
      const path = uncloneablePath(value, 'result', transferList, error)
      this.#post([slot, UNCLONEABLE, { ...toWire(error), fields: { path } }, runMs])
    }
  }

  #fail (current: Current, error: unknown, runMs: number): void {
    const slot = this.#end(current)
    this.#post([slot, FAILED, toWire(error), runMs])
  }

  #end ({ slot, context }: Current): number {
    context.end()
    this.#current = undefined
    return slot
  }

  #abort (seq: number, reason: WireError): void {
    // It may have ended while the message was under way.
    if (this.#current?.seq === seq) this.#current.context.abort(fromWire(reason))
  }
}

function isThenable (value: unknown): boolean {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}
