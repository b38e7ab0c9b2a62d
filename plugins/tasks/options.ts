import * as check from '../options.ts'
import type { Backoff } from './backoff.ts'

/** What to do about a task whose id waits or runs already: refuse the newcomer, hand out the old one's handle, or abort the old one. */
export type DuplicatePolicy = 'reject' | 'join' | 'replace'

/** How a task runs; given to submit(), or for all named tasks of a name to defineTasks(). */
export interface RunOptions {
  /**
   * How long one attempt may take, in ms, before its signal aborts. `Infinity`: no bound.
   * @default 30_000
   */
  timeout?: number
  /**
   * How often to try again after a failure.
   * @default 0
   */
  retries?: number
  /**
   * Delay before the n-th retry: random up to `base * 2 ** (n - 1)` ms, at most `max` ms.
   * An error with `retryAfter` (seconds, at most an hour) is waited for at least that long.
   * @default { base: 500, max: 30_000 }
   */
  backoff?: Partial<Backoff>
  /**
   * Whether this failure, of this attempt (1, 2, …), is worth another try. Not asked once `retries` are used up.
   * @default always
   */
  retryIf?: (error: Error, attempt: number) => boolean
}

export interface SubmitOptions extends RunOptions {
  /**
   * What to do if a task of this id is waiting or running.
   * @default 'reject'
   */
  duplicate?: DuplicatePolicy
  /**
   * Not before this many ms have passed. Meanwhile it holds a place and no slot. A shutdown gives it up.
   * @default 0
   */
  delay?: number
}

/** Resolved. */
export interface TaskOptions {
  timeout: number
  retries: number
  backoff: Backoff
  retryIf: (error: Error, attempt: number) => boolean
  duplicate: DuplicatePolicy
  delay: number
}

const runKeys = ['timeout', 'retries', 'backoff', 'retryIf']
const submitKeys = [...runKeys, 'duplicate', 'delay', 'wait']

const always = (): boolean => true

/** What most calls mean; the same object each time, since submit() is hot. */
export const defaultTaskOptions: TaskOptions = {
  timeout: 30_000, retries: 0, backoff: { base: 500, max: 30_000 }, retryIf: always, duplicate: 'reject', delay: 0
}

export function resolveRunOptions (prefix: string, options: RunOptions, defaults: TaskOptions = defaultTaskOptions): TaskOptions {
  return {
    ...defaults,
    timeout: check.duration(`${prefix}.timeout`, options.timeout ?? defaults.timeout, { min: 1 }),
    retries: check.integer(`${prefix}.retries`, options.retries ?? defaults.retries, { min: 0 }),
    backoff: resolveBackoff(`${prefix}.backoff`, options.backoff ?? {}, defaults.backoff),
    retryIf: check.fn(`${prefix}.retryIf`, options.retryIf ?? defaults.retryIf)
  }
}

export function resolveSubmitOptions (prefix: string, options: SubmitOptions | undefined, defaults: TaskOptions = defaultTaskOptions): TaskOptions {
  if (options === undefined) return defaults
  check.record(prefix, options, submitKeys)
  return {
    ...resolveRunOptions(prefix, options, defaults),
    duplicate: check.oneOf(`${prefix}.duplicate`, options.duplicate ?? defaults.duplicate, ['reject', 'join', 'replace']),
    delay: check.duration(`${prefix}.delay`, options.delay ?? defaults.delay, { min: 0, max: check.MAX_DURATION })
  }
}

function resolveBackoff (prefix: string, backoff: Partial<Backoff>, defaults: Backoff): Backoff {
  check.record(prefix, backoff, ['base', 'max'])
  return {
    base: check.duration(`${prefix}.base`, backoff.base ?? defaults.base, { min: 0, max: check.MAX_DURATION }),
    max: check.duration(`${prefix}.max`, backoff.max ?? defaults.max, { min: 0, max: check.MAX_DURATION })
  }
}

/** An id is kept while its task is held, and is on each of its log lines. */
export const MAX_ID_LENGTH = 256

export function checkId (id: unknown): string {
  check.ensure(typeof id === 'string' && id !== '' && id.length <= MAX_ID_LENGTH, 'tasks.id', `a string of 1 to ${MAX_ID_LENGTH} characters`, id)
  return id as string
}

export function checkRunOptions (prefix: string, options: unknown, further: readonly string[]): void {
  check.record(prefix, options, [...further, ...runKeys])
}
