/** The second argument of a job: who it is, its deadline and signal, its log and its progress. */
import type { FromHost, JobLine, LogLevel } from './protocol.ts'
import { jsonCopy, lineBudget, type Budget } from './bounded-copy.ts'
import { uncloneablePath } from './cloneable.ts'
import { received, isAborted, mayPost, type Assignment, type Slots } from './slots.ts'
import { toWire, type WireError } from './wire-error.ts'

/**
 * Logs through the application's logger on the main thread, with the request's id, the job's name and its id. Fields
 * are copied as JSON has them, up to some 2,000 parts and 64 KB a line.
 */
export type JobLogger = {
  readonly [level in LogLevel]: {
    (fields: object, message?: string): void
    (message: string): void
  }
}

/** What a job knows of its run: the second argument of each job. */
export interface JobContext {
  /** Unique in the pool. */
  readonly id: string
  /** The job's name. */
  readonly name: string
  /**
   * How often the job was handed to a thread: above 1 if a thread died, or was held up, before it could start the job.
   * A job that has started never runs again.
   */
  readonly attempt: number
  /** The instant, in epoch ms, by which the job must have ended; Infinity if there is none. */
  readonly deadline: number
  /**
   * Aborts when the client leaves, the caller aborts or the deadline passes. Only asynchronous code sees that: a loop
   * polls `aborted`.
   */
  readonly signal: AbortSignal
  /** Whether the signal has aborted, readable in a synchronous loop: about 8 ns a read. */
  readonly aborted: boolean
  /** Throws the signal's reason if the job was aborted. */
  throwIfAborted (): void
  /** A logger whose lines the application writes, with the ids of the job and of its request. */
  readonly log: JobLogger
  /**
   * Calls `onProgress` of `run()` on the main thread. The value is cloned; one of thousands that the main thread can't
   * keep up with is dropped.
   * @throws FC_ERR_RESULT_NOT_CLONEABLE the value can't be cloned; its path is in the message
   */
  progress (value: unknown): void
}

export class Context implements JobContext {
  /** @internal */
  readonly seq: number
  /** @internal */
  readonly slot: number
  readonly id: string
  readonly name: string
  readonly attempt: number
  readonly deadline: number
  readonly #slots: Slots
  readonly #post: (message: FromHost) => void
  #controller: AbortController | undefined
  #log: JobLogger | undefined
  /**
   * Set when the job has ended. Its slot belongs to another job from then on, which code that the job left behind must
   * not read.
   */
  #ended: boolean | undefined
  #reason: unknown
  /** Lines and progress values that the main thread couldn't keep up with. */
  #dropped = 0

  constructor (name: string, { seq, attempt, deadline }: Assignment, slots: Slots, slot: number,
    post: (message: FromHost) => void) {
    this.seq = seq
    this.id = String(seq)
    this.name = name
    this.attempt = attempt
    this.deadline = deadline
    this.#slots = slots
    this.slot = slot
    this.#post = post
  }

  get aborted (): boolean {
    return this.#ended ?? isAborted(this.#slots, this.slot)
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
    const at = (level: LogLevel) => (fields: object | string, message?: string): void =>
      this.#write(level, fields, message)
    this.#log ??= {
      trace: at('trace'), debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'), fatal: at('fatal')
    }
    return this.#log
  }

  progress (value: unknown): void {
    // Late progress of code that a job left behind would reach nobody.
    if (this.#ended !== undefined) return
    try {
      this.#postIfRead({ progress: value, slot: this.slot })
    } catch (cause) {
      const where = uncloneablePath(value, 'progress', [], cause)
      const error = new TypeError(`A progress value of job "${this.name}" can't be sent back from its thread: ${where}`,
        { cause })
      throw Object.assign(error, { code: 'FC_ERR_RESULT_NOT_CLONEABLE', statusCode: 500 })
    }
  }

  /** @internal The main thread's abort message. */
  abort (reason: unknown): void {
    this.#reason = reason
    this.#controller?.abort(reason)
  }

  /** @internal */
  end (): void {
    this.#ended = isAborted(this.#slots, this.slot)
    if (this.#dropped === 0 || !mayPost(this.#slots, 'must')) return
    this.#post(this.#line('warn', { dropped: this.#dropped },
      'the job logged and reported more than the main thread could receive'))
  }

  #postIfRead (message: JobLine | { progress: unknown, slot: number }): void {
    const isError = 'log' in message && (message.log === 'error' || message.log === 'fatal')
    if (!mayPost(this.#slots, isError ? 'error' : 'other')) {
      this.#dropped++
      return
    }
    try {
      this.#post(message)
    } catch (error) {
      received(this.#slots)
      throw error
    }
  }

  #write (level: LogLevel, fields: object | string, message?: string): void {
    if (typeof fields === 'string') this.#postIfRead(this.#line(level, undefined, fields))
    else {
      const isError = fields instanceof Error
      const line = this.#line(level, undefined, message ?? (isError ? fields.message : undefined))
      this.#postIfRead({ ...line, ...loggable(isError ? { err: fields } : fields) })
    }
  }

  #line (level: LogLevel, fields: object | undefined, message: string | undefined): JobLine {
    const { slot, seq, name: job } = this
    return {
      log: level, slot, seq, job, fields, errors: undefined, message: message === undefined ? undefined : cut(message)
    }
  }
}

const UNLOGGABLE = '[too large, too deep, or unreadable: not logged]'

/**
 * Returns the fields of a line as they are sent: errors apart, since a clone of an error loses its code and its fields.
 * Never throws.
 */
function loggable (fields: object): Pick<JobLine, 'fields' | 'errors'> {
  const budget = lineBudget()
  const plain: Record<string, unknown> = {}
  let errors: Record<string, WireError> | undefined
  try {
    for (const key of Object.keys(fields).slice(0, budget.parts)) {
      if ((budget.characters -= key.length) < 0) break
      const value = copied(fields as Record<string, unknown>, key, budget)
      if (value instanceof Error) (errors ??= {})[key] = toWire(value, budget)
      else plain[key] = value
    }
  } catch { /* A Proxy whose traps throw. */ }
  return { fields: plain, errors }
}

/** Fields that can't be sent must neither cost the job its life nor the line its other fields. */
function copied (fields: Record<string, unknown>, key: string, budget: Budget): unknown {
  try {
    const value = fields[key]
    return value instanceof Error ? value : jsonCopy(value, budget)
  } catch {
    return UNLOGGABLE
  }
}

/** A message longer than this is cut: the main thread writes the message within its turn. */
const MAX_MESSAGE = 8_192

function cut (message: unknown): string {
  const text = String(message)
  return text.length <= MAX_MESSAGE ? text : `${text.slice(0, MAX_MESSAGE)}…`
}

function abortError (): DOMException {
  return new DOMException('The job was aborted', 'AbortError')
}
