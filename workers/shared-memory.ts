/**
 * State that jobs and the main thread share: a counter and a flag. Send the `buffer` in a payload, and make a counter
 * of it on the other side. Each operation is atomic, so no count is lost. Two operations are not: use what one call
 * returns, and not a value read before.
 */

/** @throws TypeError */
function checkBuffer (buffer: unknown, bytes: number, what: string): void {
  if (!(buffer instanceof SharedArrayBuffer) || buffer.byteLength < bytes) {
    throw new TypeError(
      `${what}: expected a SharedArrayBuffer of at least ${bytes} bytes, received ${buffer instanceof SharedArrayBuffer ? `one of ${buffer.byteLength}` : typeof buffer}`)
  }
}

/**
 * A whole number that any thread may change, exact from -2^53 to 2^53.
 *
 * @example
 * const done = new SharedCounter()
 * await app.workers.run('resize', { images, done: done.buffer })   // in the job: new SharedCounter(done).add(1)
 * done.value
 */
export class SharedCounter {
  /** The memory that threads share. */
  readonly buffer: SharedArrayBuffer
  readonly #cell: BigInt64Array

  /** @param buffer of a counter of another thread; a new one, at 0, if it is left out */
  constructor (buffer: SharedArrayBuffer = new SharedArrayBuffer(8)) {
    checkBuffer(buffer, 8, 'SharedCounter')
    this.buffer = buffer
    this.#cell = new BigInt64Array(buffer, 0, 1)
  }

  /** The value now. */
  get value (): number {
    return Number(Atomics.load(this.#cell, 0))
  }

  /** Adds a whole number, by default 1, and returns the new value. */
  add (amount = 1): number {
    return Number(Atomics.add(this.#cell, 0, whole(amount))) + amount
  }

  /** Sets the value, by default to 0, and returns the old one. */
  reset (value = 0): number {
    return Number(Atomics.exchange(this.#cell, 0, whole(value)))
  }
}

function whole (value: number): bigint {
  if (!Number.isSafeInteger(
    value)) throw new TypeError(`SharedCounter: expected a whole number, received ${String(value)}`)
  return BigInt(value)
}

/**
 * Something that is so or isn't: stop, ready, changed. A job may look at it in a loop, at about 10 ns.
 *
 * @example
 * const stop = new SharedFlag()
 * const found = app.workers.run('search', { q, stop: stop.buffer })
 * // in the job: if (new SharedFlag(stop).isSet) break
 * stop.set()
 */
export class SharedFlag {
  /** The memory that threads share. */
  readonly buffer: SharedArrayBuffer
  readonly #cell: Int32Array

  /** @param buffer of a flag of another thread; a new one, not set, if it is left out */
  constructor (buffer: SharedArrayBuffer = new SharedArrayBuffer(4)) {
    checkBuffer(buffer, 4, 'SharedFlag')
    this.buffer = buffer
    this.#cell = new Int32Array(buffer, 0, 1)
  }

  /** Whether a thread has set the flag. */
  get isSet (): boolean {
    return Atomics.load(this.#cell, 0) === 1
  }

  /** Returns whether this call has set it: of several threads that call at the same time, true for one. */
  set (): boolean {
    return Atomics.exchange(this.#cell, 0, 1) === 0
  }

  /** Returns whether this call has cleared it. */
  clear (): boolean {
    return Atomics.exchange(this.#cell, 0, 0) === 1
  }
}
