/** The options of one task: of submit() and enqueue(), and the defaults for all tasks of a name. */
import { types } from 'node:util'
import * as check from '../shared/options.ts'

/** Backoff tells how long a failed task waits for its next attempt. */
export interface Backoff {
  /** The mean delay before the first retry is half of this, in ms. */
  base: number
  /** No delay is longer, in ms, unless the error asks for it. */
  max: number
}

/**
 * DuplicatePolicy decides about a new task whose id waits or runs already: refuse the new task, or return the handle of
 * the old one.
 */
export type DuplicatePolicy = 'reject' | 'join'

/** TaskRunOptions tell how a task runs. They are given to submit(), or to defineTasks() for all tasks of a name. */
export interface TaskRunOptions {
  /**
   * How long one attempt may take, in ms, before its signal aborts. `Infinity`: no bound.
   * @default 30_000
   */
  timeout?: number
  /**
   * How many more attempts a failed task gets.
   * @default 0
   */
  retries?: number
  /**
   * Delay before the n-th retry: random up to `base * 2 ** (n - 1)` ms, at most `max` ms.
   * An error with `retryAfter` (seconds) is waited for at least that long, but no longer than an hour.
   * @default { base: 500, max: 30_000 }
   */
  backoff?: Partial<Backoff>
  /**
   * Tells at once whether this failure, of this attempt (1, 2, …), is worth another try. It isn't asked once `retries`
   * are used up. If it throws or returns a promise, that is logged, and the task isn't tried again.
   * @default always
   */
  retryIf?: (error: Error, attempt: number) => boolean
}

export interface SubmitOptions extends TaskRunOptions {
  /**
   * The client or tenant whose task this is. Keys take turns, and share the queue fairly.
   * @default the address of the client in a request, otherwise the task's name
   */
  key?: string
  /**
   * What to do if a task of this id is waiting or running. A task that is being aborted can't be joined:
   * FC_ERR_TASK_DUPLICATE.
   * @default 'reject'
   */
  duplicate?: DuplicatePolicy
  /**
   * The time before the first attempt, in ms. Meanwhile the task takes a place of the queue and no slot. A shutdown
   * gives up a task whose delay ends more than 1 s later.
   * @default 0
   */
  delay?: number
}

/** TaskOptions are the options of one task, with their defaults. */
export interface TaskOptions {
  key: string | undefined
  timeout: number
  retries: number
  backoff: Backoff
  retryIf: (error: Error, attempt: number) => boolean
  duplicate: DuplicatePolicy
  delay: number
}

const runKeys = ['timeout', 'retries', 'backoff', 'retryIf'] as const

/** @internal Every option of submit(), also for the test that compares them with the docs. */
export const submitOptionNames = [...runKeys, 'key', 'duplicate',
  'delay'] as const satisfies ReadonlyArray<keyof SubmitOptions>

/** What retryIf must be, for messages. A promise would be true whatever it resolves to. */
export const RETRY_IF = 'a function that returns true or false at once, not a promise'

const always = (): boolean => true

/** The options of a task when none are given. Always the same object, since submit() is called often. */
export const defaultTaskOptions: TaskOptions = {
  key: undefined,
  timeout: 30_000,
  retries: 0,
  backoff: { base: 500, max: 30_000 },
  retryIf: always,
  duplicate: 'reject',
  delay: 0
}

export function resolveRunOptions (prefix: string, options: TaskRunOptions,
  defaults: TaskOptions = defaultTaskOptions): TaskOptions {
  return {
    ...defaults,
    timeout: check.duration(`${prefix}.timeout`, options.timeout ?? defaults.timeout, { min: 1 }),
    retries: check.integer(`${prefix}.retries`, options.retries ?? defaults.retries, { min: 0 }),
    backoff: resolveBackoff(`${prefix}.backoff`, options.backoff ?? {}, defaults.backoff),
    retryIf: resolveRetryIf(`${prefix}.retryIf`, options.retryIf ?? defaults.retryIf)
  }
}

function resolveRetryIf (option: string, retryIf: unknown): TaskOptions['retryIf'] {
  check.ensure(!types.isAsyncFunction(retryIf), option, RETRY_IF, retryIf)
  return check.fn(option, retryIf)
}

/** @param further names of options that the caller reads itself */
export function resolveSubmitOptions (prefix: string, options: SubmitOptions | undefined,
  defaults: TaskOptions = defaultTaskOptions, further: readonly string[] = []): TaskOptions {
  if (options === undefined) return defaults
  check.record(prefix, options, [...submitOptionNames, ...further])
  return {
    ...resolveRunOptions(prefix, options, defaults),
    key: options.key === undefined ? undefined : checkKey(`${prefix}.key`, options.key),
    duplicate: checkDuplicate(`${prefix}.duplicate`, options.duplicate ?? defaults.duplicate),
    delay: check.duration(`${prefix}.delay`, options.delay ?? defaults.delay, { min: 0, max: check.MAX_DURATION })
  }
}

export function checkKey (option: string, key: unknown): string {
  check.ensure(typeof key === 'string', option, 'a string', key)
  return key
}

function checkDuplicate (option: string, duplicate: unknown): DuplicatePolicy {
  check.ensure(duplicate !== 'replace', option,
    "'reject' or 'join' (to replace a task, keep its handle, call cancel(), and submit the new task under an id of its own)", duplicate)
  return check.oneOf(option, duplicate, ['reject', 'join'])
}

function resolveBackoff (prefix: string, backoff: Partial<Backoff>, defaults: Backoff): Backoff {
  check.record(prefix, backoff, ['base', 'max'])
  return {
    base: check.duration(`${prefix}.base`, backoff.base ?? defaults.base, { min: 0, max: check.MAX_DURATION }),
    max: check.duration(`${prefix}.max`, backoff.max ?? defaults.max, { min: 0, max: check.MAX_DURATION })
  }
}

/** The longest id. An id is kept while its task is held, and is on each of the task's log lines. */
export const MAX_ID_LENGTH = 256

export function checkId (id: unknown): string {
  if (typeof id === 'string' && id !== '' && id.length <= MAX_ID_LENGTH) return id
  return check.invalid('tasks.id', `a string of 1 to ${MAX_ID_LENGTH} characters`, id)
}

/**
 * Checks an id that an engine may store. UTF-8 can't hold one half of a pair of surrogates, so the task would not be
 * found again by such an id.
 */
export function checkStoredId (id: unknown): string {
  const text = checkId(id)
  check.ensure(text.isWellFormed(), 'tasks.id', 'a string without lone surrogates', id)
  return text
}

export function checkRunOptions (prefix: string, options: unknown, further: readonly string[]): void {
  check.record(prefix, options, [...further, ...runKeys])
}
