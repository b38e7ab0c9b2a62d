/** What a job is given beside its payload. */
import { isAborted, type Assignment, type Slots } from './slots.ts'
import type { FromHost, LogLevel } from './protocol.ts'

/** Lines come out of the application's logger on the main thread, with the request's id, the job's name and its id. */
export type JobLogger = {
  readonly [level in LogLevel]: {
    (fields: object, message?: string): void
    (message: string): void
  }
}

export interface JobContext {
  /** Unique in the pool. */
  readonly id: string
  readonly name: string
  /** 1, or more if threads died before they could start it: a job that has started never runs again. */
  readonly attempt: number
  /** The instant, in epoch ms, by which it must have ended; Infinity if there is none. */
  readonly deadline: number
  /** Aborts when the client leaves, the caller aborts or the deadline passes. Only asynchronous code sees it: a loop polls `aborted`. */
  readonly signal: AbortSignal
  /** The same, readable in a synchronous loop: about 8 ns a read. */
  readonly aborted: boolean
  /** Throws the signal's reason if the job was aborted. */
  throwIfAborted (): void
  readonly log: JobLogger
  /** Calls `onProgress` of `run()` on the main thread. The value is cloned. */
  progress (value: unknown): void
}

const LEVELS: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal']

export class Context implements JobContext {
  readonly id: string
  readonly name: string
  readonly attempt: number
  readonly deadline: number
  readonly #slots: Slots
  readonly #slot: number
  readonly #post: (message: FromHost) => void
  #controller: AbortController | undefined
  #log: JobLogger | undefined
  /** Set when the job has ended: its slot belongs to another job from then on, and code it left behind must not read that. */
  #ended: boolean | undefined
  #reason: unknown

  constructor (name: string, { seq, attempt, deadline }: Assignment, slots: Slots, slot: number, post: (message: FromHost) => void) {
    this.id = String(seq)
    this.name = name
    this.attempt = attempt
    this.deadline = deadline
    this.#slots = slots
    this.#slot = slot
    this.#post = post
  }

  get aborted (): boolean {
    return this.#ended ?? isAborted(this.#slots, this.#slot)
  }

  get signal (): AbortSignal {
    this.#controller ??= new AbortController()
    // First read after the abort: the message that aborts may have come before there was a controller.
    if (this.aborted && !this.#controller.signal.aborted) this.#controller.abort(this.#reason ?? abortError())
    return this.#controller.signal
  }

  throwIfAborted (): void {
    if (this.aborted) throw this.#reason ?? abortError()
  }

  get log (): JobLogger {
    this.#log ??= Object.fromEntries(LEVELS.map((level) => [level, this.#write.bind(this, level)])) as unknown as JobLogger
    return this.#log
  }

  progress (value: unknown): void {
    // Late progress of code that a job left behind would reach nobody.
    if (this.#ended === undefined) this.#post({ progress: value, slot: this.#slot })
  }

  /** @internal The main thread's abort message. */
  abort (reason: unknown): void {
    this.#reason = reason
    this.#controller?.abort(reason)
  }

  /** @internal */
  end (): void {
    this.#ended = isAborted(this.#slots, this.#slot)
  }

  #write (level: LogLevel, fields: object | string, message?: string): void {
    const [plain, text] = typeof fields === 'string' ? [undefined, fields] : [fields, message]
    try {
      this.#post({ log: level, slot: this.#slot, fields: plain, message: text })
    } catch {
      // Fields that can't be cloned must not cost the job its life: say what can be said.
      this.#post({ log: level, slot: this.#slot, fields: JSON.parse(safeJson(plain)) as unknown, message: text })
    }
  }
}

function abortError (): DOMException {
  return new DOMException('The job was aborted', 'AbortError')
}

function safeJson (value: unknown): string {
  try {
    return JSON.stringify(value, (_key, field: unknown) => typeof field === 'bigint' ? String(field) : field) ?? '{}'
  } catch {
    return '{}'
  }
}
