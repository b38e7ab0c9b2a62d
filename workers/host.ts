/**
 * The long-lived piscina task that runs jobs on a thread: takes them from our port, one at a time, in order, and says of each how
 * it ended, at once. piscina owns the thread; this owns the conversation.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { Context } from './context.ts'
import { asTransfer, type JobFunction, type Jobs } from './jobs.ts'
import { loadJob, loadJobs } from './load.ts'
import { threadMark, type Refuse } from './mark.ts'
import { MemoryBound } from './memory.ts'
import { COMPLETED, FAILED, HANDOVER_WIDTH, SKIPPED, UNCLONEABLE, type FromHost, type Handover, type HostData, type ToHost } from './protocol.ts'
import { assignment, start } from './slots.ts'
import { fromWire, toWire, type WireError } from './wire-error.ts'
import { uncloneablePath } from './cloneable.ts'

/** Resolves when the host is told to retire. */
export default async function host (data: HostData): Promise<void> {
  let jobs: Jobs
  const functions: Array<JobFunction | undefined> = []
  let refused = false
  const refuse: Refuse = (error) => {
    refused = true
    data.port.postMessage({ broken: toWire(error), what: error.message } satisfies FromHost)
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
  await new Host(data, jobs, functions).retired
}

class Host {
  readonly retired: Promise<void>
  readonly #data: HostData
  readonly #jobs: Jobs
  readonly #functions: Array<JobFunction | undefined>
  readonly #memory: MemoryBound
  readonly #queue: Handover[] = []
  readonly #post: (message: FromHost) => void
  #running = false
  #current: { seq: number, slot: number, context: Context } | undefined

  constructor (data: HostData, jobs: Jobs, functions: Array<JobFunction | undefined>) {
    this.#data = data
    this.#jobs = jobs
    this.#functions = functions
    this.#memory = new MemoryBound(data.maxMemory)
    this.#post = (message) => data.port.postMessage(message)
    this.retired = new Promise((resolve) => {
      data.port.on('message', (message: ToHost) => {
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
    this.#current = { seq: assigned.seq, slot, context }
    const payload = jobs[at + 1]
    jobs[at + 1] = undefined // the batch must not keep what a long job has let go of
    const job = this.#functions[index]
    return job === undefined ? this.#loadAndCall(index, payload) : this.#call(job, payload)
  }

  /** On a replacement thread: a job is loaded by the first that needs it, so that the others needn't wait for it. */
  async #loadAndCall (index: number, payload: unknown): Promise<void> {
    try {
      this.#functions[index] ??= await loadJob(this.#jobs, this.#data.names[index] as string)
    } catch (error) {
      this.#fail(error, 0)
      return
    }
    await this.#call(this.#functions[index], payload)
  }

  #call (job: JobFunction, payload: unknown): Promise<void> | undefined {
    const { context } = this.#current as { context: Context }
    const began = performance.now()
    try {
      const result = job(payload as never, context)
      if (!isThenable(result)) {
        this.#complete(result, performance.now() - began)
        return undefined
      }
      return Promise.resolve(result).then(
        (value) => this.#complete(value, performance.now() - began),
        (error: unknown) => this.#fail(error, performance.now() - began))
    } catch (error) {
      this.#fail(error, performance.now() - began)
      return undefined
    }
  }

  #complete (result: unknown, runMs: number): void {
    const slot = this.#end()
    const moved = asTransfer(result)
    const value = moved === undefined ? result : moved.value
    try {
      if (moved === undefined) this.#data.port.postMessage([slot, COMPLETED, value, runMs])
      else this.#data.port.postMessage([slot, COMPLETED, value, runMs], moved.transferList)
    } catch (error) {
      const wire: WireError = toWire(error)
      this.#post([slot, UNCLONEABLE, { ...wire, fields: { path: uncloneablePath(value, 'result') } }, runMs])
    }
    this.#checkMemory()
  }

  #fail (error: unknown, runMs: number): void {
    this.#post([this.#end(), FAILED, toWire(error), runMs])
    this.#checkMemory()
  }

  #end (): number {
    const { slot, context } = this.#current as { slot: number, context: Context }
    context.end()
    this.#current = undefined
    return slot
  }

  #abort (seq: number, reason: WireError): void {
    // It may have ended while the message was under way.
    if (this.#current?.seq === seq) this.#current.context.abort(fromWire(reason))
  }

  #checkMemory (): void {
    const bytes = this.#memory.exceeded(performance.now())
    if (bytes !== undefined) this.#post({ recycle: bytes })
  }
}

function isThenable (value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}
