/**
 * Bound lets at most so many run at a time for each key. The others wait in a short line, which is the one of
 * core/line/: fair to clients by the time that they hold permits, and bounded by time. A line that is bounded by time
 * does the work; limits that adapt to the measured latency would earn nothing beside it.
 */
import { Admission, Entry } from '../../core/line/admission.ts'
import { ClosingError, LimitBusyError, type Refusal } from '../../shared/errors.ts'
import type { ResolvedConcurrency } from './policy.ts'

/** The shortest wait limit of an overload, in ms, as for jobs. */
const TARGET_WAIT = 100

class Waiter extends Entry {
  onTaken: (() => void) | undefined
  onRefused: ((error: Error) => void) | undefined
}

/** Gives a permit back. Calling it again does nothing. */
export type Release = () => void

export interface AcquireSettings {
  /** Whose bound it is. */
  key: string
  /** Whose request it is: clients that wait for the same key take turns. */
  client: string
  /** The instant until which the caller can wait, on the clock of performance.now(). */
  deadline?: number
  /** End the wait, with their reason. */
  signals: readonly AbortSignal[]
}

export class Bound {
  readonly #policy: ResolvedConcurrency
  readonly #lines = new Map<string, Admission<Waiter>>()
  /** What refuses each of those that wait. */
  readonly #fails = new Set<(error: Error) => void>()
  #isClosed = false

  constructor (policy: ResolvedConcurrency) {
    this.#policy = policy
  }

  /** Permits that are held, and waiters, over all keys. */
  get stats (): { running: number, waiting: number } {
    let [running, waiting] = [0, 0]
    for (const line of this.#lines.values()) {
      running += line.running
      waiting += line.waiting
    }
    return { running, waiting }
  }

  /**
   * Returns the function that gives the permit back; a promise for it only if a permit has to be waited for.
   *
   * @throws LimitBusyError, or the reason of a signal
   */
  acquire ({ key, client, deadline = Infinity, signals }: AcquireSettings): Release | Promise<Release> {
    const aborted = signals.find((signal) => signal.aborted)
    if (aborted !== undefined) throw aborted.reason
    if (this.#isClosed) throw new ClosingError('The service')
    const line = this.#lineOf(key)
    const waiter = new Waiter(0, client, 'normal', deadline)
    const release = (): void => this.#release(line, key, waiter)
    const refusal = line.offer(waiter, performance.now())
    if (refusal !== undefined) throw this.#busy(refusal)
    this.#dispatch(line)
    if (waiter.state === 'taken') return release
    return this.#wait(line, key, waiter, signals).then(() => release)
  }

  /** Refuses all that wait, and whoever comes. */
  close (): void {
    this.#isClosed = true
    for (const fail of [...this.#fails]) fail(new ClosingError('The service'))
  }

  async #wait (line: Admission<Waiter>, key: string, waiter: Waiter, signals: readonly AbortSignal[]): Promise<void> {
    const left = waiter.deadline - performance.now()
    const { maxWait } = this.#policy
    const bound = left < maxWait ? { reason: 'deadline', limit: left } as const : { reason: 'shed', limit: maxWait } as const
    let end = (): void => {}
    try {
      await new Promise<void>((resolve, reject) => {
        const fail = (error: unknown): void => {
          line.leave(waiter, performance.now())
          this.#forgetIdle(line, key)
          reject(error as Error)
        }
        waiter.onTaken = resolve
        waiter.onRefused = reject
        const timer = setTimeout(() => {
          fail(this.#busy({ ...bound, waiting: line.waiting, estimatedWait: bound.limit, retryAfter: 1 }))
        }, bound.limit)
        const onAbort = ({ target }: Event): void => fail((target as AbortSignal).reason)
        for (const signal of signals) signal.addEventListener('abort', onAbort)
        this.#fails.add(fail)
        end = () => {
          clearTimeout(timer)
          this.#fails.delete(fail)
          for (const signal of signals) signal.removeEventListener('abort', onAbort)
        }
      })
    } finally {
      end()
    }
  }

  #lineOf (key: string): Admission<Waiter> {
    let line = this.#lines.get(key)
    if (line === undefined) {
      const { concurrency: threads, maxWait, maxWaiting: maxQueue } = this.#policy
      const waits = { maxWait, orderWait: maxWait, targetWait: Math.min(TARGET_WAIT, maxWait) }
      const settings = { threads, maxQueue, ...waits, concurrency: [Infinity] }
      line = new Admission<Waiter>(settings, (waiter, refusal) => waiter.onRefused?.(this.#busy(refusal)))
      this.#lines.set(key, line)
    }
    return line
  }

  #dispatch (line: Admission<Waiter>): void {
    while (line.running < this.#policy.concurrency) {
      const waiter = line.take(performance.now())
      if (waiter === undefined) return
      waiter.onTaken?.()
    }
  }

  #release (line: Admission<Waiter>, key: string, waiter: Waiter): void {
    if (waiter.state !== 'taken') return
    const now = performance.now()
    line.finish(waiter, now, now - waiter.takenAt, 'completed')
    this.#dispatch(line)
    this.#forgetIdle(line, key)
  }

  #forgetIdle (line: Admission<Waiter>, key: string): void {
    if (line.running === 0 && line.waiting === 0) this.#lines.delete(key)
  }

  #busy (refusal: Refusal): LimitBusyError {
    return new LimitBusyError(this.#policy.name, refusal, this.#policy.status)
  }
}
