/**
 * Group is parallel work that belongs together, after Go's x/sync/errgroup: the first error aborts the rest, and wait()
 * returns when all functions have settled, so that none runs on unnoticed.
 *
 * As in Go, a function that ignores the signal is waited for: wait() can't return before the functions that the group
 * has started.
 */
import { setMaxListeners } from 'node:events'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { GroupEndedError, RequestEndedError } from '../../shared/errors.ts'
import * as check from '../../shared/options.ts'
import { abortable, Parents, runInGroup } from './signals.ts'
import { Turn } from '../turns.ts'
import { isInstance, readable } from '../thrown.ts'
import { Watched } from '../watched.ts'

/** What a function of a group is given. */
export interface GroupContext {
  /** Aborts with the first error of the group, or with its parent signal. */
  readonly signal: AbortSignal
}

/** A function that a group runs. */
export type GroupFunction<T> = (context: GroupContext) => T | PromiseLike<T>

/** A function that a group calls with each item. */
export type MapFunction<Item,
  Result> = (item: Item, context: GroupContext & { index: number }) => Result | PromiseLike<Result>

/** GroupHost is told what becomes of a group. */
export interface GroupHost {
  /** Nobody has asked for this error. */
  unseen (error: unknown): void
  /** This error came after the one that the group rejects with. */
  further (error: unknown): void
  /** The group has something to run, until ended(). It may begin again. */
  began (): void
  ended (): void
  /** The group was aborted between began() and ended(). */
  aborted (): void
}

const nobody: GroupHost = { unseen () {}, further () {}, began () {}, ended () {}, aborted () {} }

/**
 * Parallel work inside one request: functions that run at the same time, of which none outlives the group. Made by
 * `tasks.group()`.
 */
export class Group<T = unknown> {
  /** How many functions may run at the same time. */
  readonly limit: number
  readonly #controller: AbortController
  readonly #parents: Parents
  readonly #host: GroupHost
  readonly #results: T[] = []
  readonly #errors: unknown[] = []
  /** The first error of a function that go() started. Only wait() reports it. */
  #unwaited: { error: unknown } | undefined
  readonly #running = new Set<Promise<void>>()
  #waiting: Array<() => void> = []
  /** How many functions of go() run. */
  #active = 0
  /** How many functions of go(), calls of map() and calls of race() run. */
  #works = 0
  /** Somebody outside has the signal, who may wait for it without any function of the group. */
  #isSignalRead = false
  #started = 0
  #skipped = false
  /** wait() was called, and will throw an error that comes from now on. */
  #waited = false
  #ended = false

  /** @param parents abort the group when one of them aborts */
  constructor (limit: number, parents: readonly AbortSignal[], host = nobody, controller = new AbortController()) {
    this.limit = limit
    this.#host = host
    this.#controller = controller
    this.#parents = new Parents(parents, controller)
    // Each function may listen. Node 24 has no limit for signals either.
    setMaxListeners(0, controller.signal)
    controller.signal.addEventListener('abort', () => this.#onAbort(), { once: true })
  }

  /**
   * Aborts with the first error, or when the parent does: in a handler, when the client leaves or the request has been
   * answered. Read here, it follows its parents until wait() or the end of an `await using` scope; otherwise only while
   * something of the group runs.
   */
  get signal (): AbortSignal {
    if (!this.#ended) {
      this.#isSignalRead = true
      this.#parents.follow()
    }
    return this.#signal
  }

  get #signal (): AbortSignal {
    return this.#controller.signal
  }

  /**
   * All errors but the first, in the order in which they came. An error that only repeats the signal's reason isn't
   * among them.
   */
  get errors (): readonly unknown[] {
    return this.#errors.slice(1)
  }

  /**
   * Starts `fn` as soon as fewer than `limit` functions run. Resolves when `fn` has started: to false if the group was
   * aborted first. Await the promise: a loop that doesn't await it keeps all its functions in memory. Use tryGo() if
   * `fn` should be dropped instead of waiting.
   *
   * @throws {GroupEndedError} after wait()
   */
  go (fn: GroupFunction<T>): Promise<boolean> {
    this.#check(fn)
    if (this.tryGo(fn)) return Promise.resolve(true)
    if (this.#aborted()) return Promise.resolve(false)
    return new Promise((resolve) => {
      this.#waiting.push(() => {
        const may = !this.#aborted()
        if (may) this.#start(fn)
        resolve(may)
      })
    })
  }

  /**
   * Starts `fn` if fewer than `limit` functions run and the group isn't aborted. Otherwise returns false, and `fn` is
   * never called.
   */
  tryGo (fn: GroupFunction<T>): boolean {
    this.#check(fn)
    if (this.#active >= this.limit || this.#aborted()) return false
    this.#start(fn)
    return true
  }

  #check (fn: unknown): void {
    if (this.#ended) throw new GroupEndedError()
    check.fn('tasks.group.fn', fn)
  }

  #aborted (): boolean {
    const isAborted = this.#parents.check()
    if (isAborted) this.#skipped = true
    return isAborted
  }

  #onAbort (): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const wake of waiting) wake()
    if (this.#works > 0) this.#host.aborted()
    if (isInstance(this.#signal.reason, RequestEndedError) && this.#active > 0 &&
      !this.#waited) this.#host.unseen(this.#signal.reason)
  }

  #began (): void {
    if (this.#works === 0) {
      this.#parents.follow()
      this.#host.began()
    }
    this.#works++
  }

  #finished (): void {
    if (--this.#works > 0) return
    if (!this.#isSignalRead) this.#parents.forget()
    this.#host.ended()
  }

  #start (fn: GroupFunction<T>): void {
    this.#began()
    this.#active++
    const index = this.#started++
    const run = runInGroup(this.#signal, () => call(fn, { signal: this.#signal }))
      .then((value) => { this.#results[index] = value },
        (error: unknown) => { if (this.#fail(error)) this.#unwaited ??= { error } })
      .then(() => {
        this.#active--
        this.#running.delete(run)
        this.#waiting.shift()?.()
        this.#finished()
      })
    this.#running.add(run)
  }

  /**
   * Hands out a promise whose rejection can't end the process.
   *
   * @param isSeen tells whether somebody gets the error by another way
   */
  #handOut<Result> (work: Promise<Result>, isSeen: (error: unknown) => boolean): Promise<Result> {
    return Watched.of(work, (error) => {
      // That the client has left is no error of the application. That the application has answered before its group had
      // ended is one.
      const isExpected = this.#isReason(error) && !this.#errors.includes(error) && !isInstance(error, RequestEndedError)
      if (!isExpected && !isSeen(error)) this.#host.unseen(error)
    })
  }

  /**
   * Tells whether an error only repeats why the group was aborted. Node's functions and ours reject with an error whose
   * cause is the reason.
   */
  #isReason (error: unknown): boolean {
    const { aborted, reason } = this.#signal
    if (!aborted || error === reason) return aborted
    const { code, cause } = error instanceof Error ? error as { code?: unknown, cause?: unknown } : {}
    return cause !== undefined && cause === reason && /ABORT/.test(String(code))
  }

  /** Tracks work that was not started by go() but that wait() must still wait for. */
  async #alongside<Result> (start: () => Promise<Result>): Promise<Result> {
    this.#began()
    const work = start()
    const done = (): void => { this.#running.delete(settled) }
    const settled: Promise<void> = work.then(done, done)
    this.#running.add(settled)
    try {
      return await work
    } finally {
      this.#finished()
    }
  }

  /** Returns false if the error only repeats why the group was aborted. */
  #fail (error: unknown): boolean {
    if (this.#isReason(error)) {
      this.#skipped = true
      return false
    }
    if (this.#errors.push(error) > 1) this.#host.further(error)
    this.#controller.abort(error)
    return true
  }

  /**
   * Resolves when all functions have settled, to what they returned, in the order in which they started. Rejects with
   * the first error itself; the others are in `errors`. Rejects with the parent's reason if the parent's abort kept a
   * function from starting.
   */
  wait (): Promise<T[]> {
    this.#waited = true
    return this.#handOut(this.#wait(), () => false)
  }

  async #wait (): Promise<T[]> {
    await this.#settle()
    if (this.#errors.length > 0) throw this.#errors[0]
    if (this.#skipped) throw this.#signal.reason
    return this.#results
  }

  async #settle (): Promise<void> {
    // Read again each time: a function may start further ones, and lets a waiting one start as it settles.
    while (this.#running.size > 0) await Promise.all(this.#running)
    this.#ended = true
    this.#parents.forget()
  }

  /**
   * Calls `fn` with each item, at most `limit` at the same time. Resolves to the results in the order of the items. An
   * async iterable is read no further ahead than `limit`. The first error aborts the group, ends the reading, and is
   * thrown when all calls have settled.
   */
  map<Item, Result> (items: Iterable<Item> | AsyncIterable<Item>, fn: MapFunction<Item, Result>): Promise<Result[]> {
    return this.#handOut((async () => {
      this.#check(fn)
      const iterator = iteratorOf(items)
      const group = new Group<Result>(this.limit, [this.#signal])
      // Read, the signal follows this group's until wait(), all through the reading of the items.
      const { signal } = group
      return this.#alongside(() => runInGroup(signal, () => this.#map(group, iterator, fn)))
    })(), () => this.#waited)
  }

  async #map<Item, Result> (group: Group<Result>, iterator: AnyIterator<Item>,
    fn: MapFunction<Item, Result>): Promise<Result[]> {
    const turn = new Turn()
    const { signal } = group
    let hasEnded = false
    try {
      for (let index = 0; ; index++) {
        await group.#vacancy()
        if (turn.isOver()) await nextTurn()
        signal.throwIfAborted()
        const next = resultOf(iterator.next())
        // The item isn't awaited. It may be a lazy query, which only `fn` should run.
        const { done, value } = 'then' in next ? resultOf(await abortable(next, signal)) : next
        hasEnded = done === true
        if (done === true) break
        group.tryGo(({ signal }) => fn(value, { signal, index }))
      }
    } catch (error) {
      // Unless the group was aborted, the error is the iterator's own, which has ended with it.
      hasEnded = !signal.aborted
      group.#fail(readable(error))
    }
    try {
      return await group.wait()
    } catch (error) {
      for (const each of [error, ...group.errors]) this.#fail(each)
      throw error
    } finally {
      // Not awaited: the return() of an async generator waits for the item that the generator is making.
      if (!hasEnded) (async () => { await iterator.return?.() })().catch(() => {})
    }
  }

  /** Resolves when another function can start, or none will any more. */
  async #vacancy (): Promise<void> {
    if (this.#active < this.limit || this.#signal.aborted) return
    await new Promise<void>((resolve) => { this.#waiting.push(resolve) })
  }

  /**
   * Starts all of `fns` at once, whatever the limit. The first function to settle decides, as in Promise.race(). The
   * signal of the others aborts, and the others are waited for. An error is thrown, and doesn't abort the group.
   */
  race<Result> (fns: ReadonlyArray<GroupFunction<Result>>): Promise<Result> {
    return this.#handOut((async () => {
      check.ensure(check.array('tasks.group.race.fns', fns).length > 0, 'tasks.group.race.fns',
        'at least one function: a race of none has no winner', fns)
      for (const fn of fns) this.#check(fn)
      if (this.#parents.check()) throw this.#signal.reason
      return this.#alongside(() => this.#race(fns))
    })(), (error) => this.#isReason(error) && this.#errors.includes(error))
  }

  async #race<Result> (fns: ReadonlyArray<GroupFunction<Result>>): Promise<Result> {
    const losers = new AbortController()
    setMaxListeners(0, losers.signal)
    const parents = new Parents([this.#signal], losers)
    parents.follow()
    const runs = fns.map(async (fn) => runInGroup(losers.signal, () => call(fn, { signal: losers.signal })))
    try {
      return await Promise.race(runs)
    } finally {
      losers.abort(new DOMException('Another has won the race', 'AbortError'))
      await Promise.allSettled(runs)
      parents.forget()
    }
  }

  /** Aborts the functions that still run, and waits for them. Never throws: errors come out of wait(). */
  async [Symbol.asyncDispose] (): Promise<void> {
    if (this.#running.size > 0) this.#controller.abort(new DOMException('The scope of the group was left', 'AbortError'))
    await this.#settle()
    if (this.#unwaited !== undefined && !this.#waited) this.#host.unseen(this.#unwaited.error)
  }
}

type AnyIterator<Item> = Iterator<Item> | AsyncIterator<Item>

async function call<T, Context> (fn: (context: Context) => T | PromiseLike<T>, context: Context): Promise<T> {
  try {
    return await fn(context)
  } catch (thrown) {
    throw readable(thrown)
  }
}

function iteratorOf<Item> (items: Partial<Iterable<Item> & AsyncIterable<Item>> | null | undefined): AnyIterator<Item> {
  const iterator = items?.[Symbol.asyncIterator]?.() ?? items?.[Symbol.iterator]?.()
  check.ensure(iterator !== undefined, 'tasks.group.map.items', 'an iterable or an async iterable', items)
  return iterator
}

/** Without this check, an iterator that answers nothing would pass off a part of its items as the whole. */
function resultOf<Result> (result: Result): Result & object {
  if (typeof result === 'object' && result !== null) return result
  throw new TypeError(`The iterator's next() returned ${String(result)}, which is not an object`)
}
