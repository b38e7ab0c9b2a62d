/**
 * Slots: one word of shared memory for each job that a thread holds, changed by compare-and-swap. The word decides
 * between a worker that starts a job and a main thread that revokes it, so that no job runs twice, and none that has
 * not started is lost with its thread.
 *
 *   FREE -> ASSIGNED -> STARTED -> FREE          main hands it over, the worker starts it, main takes its result
 *           ASSIGNED -> REVOKED -> FREE          main revoked it first: the worker skips it and posts that
 *                       STARTED -> ABORTED main wants it stopped: `context.aborted` turns true, in a synchronous loop
 *                       too
 *
 * Main frees a slot only after the worker has posted that it is done with it, since a message that names the slot may
 * still be under way.
 */
export const FREE = 0
export const ASSIGNED = 1
export const STARTED = 2
export const REVOKED = 3
export const ABORTED = 4

/**
 * A job without its payload. It is read from shared memory, for a third of what it costs to clone it with each message.
 */
export interface Assignment {
  /** Its number in the pool. */
  seq: number
  /** The index of its name. */
  job: number
  attempt: number
  /** Epoch ms, or Infinity. */
  deadline: number
}

const FIELDS = 4

/** Shared by the main thread and one worker. */
export interface Slots {
  readonly states: Int32Array<SharedArrayBuffer>
  /** Written by the main thread before the message that names the slot, read by the worker after it. */
  readonly assignments: Float64Array<SharedArrayBuffer>
  /** One word: lines and progress values that the worker has sent and the main thread hasn't received. */
  readonly backlog: Int32Array<SharedArrayBuffer>
  /**
   * One for each slot: which message, in the order of all that the worker has posted, carries the outcome. A message
   * that the main thread can't read says nothing of itself.
   */
  readonly outcomes: Float64Array<SharedArrayBuffer>
  /** One: how many messages the worker has read. The next is what it died of, if it died while reading. */
  readonly read: Float64Array<SharedArrayBuffer>
}

export function createSlots (count: number): Slots {
  return {
    states: new Int32Array(new SharedArrayBuffer(count * Int32Array.BYTES_PER_ELEMENT)),
    assignments: new Float64Array(new SharedArrayBuffer(count * FIELDS * Float64Array.BYTES_PER_ELEMENT)),
    backlog: new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)),
    outcomes: new Float64Array(new SharedArrayBuffer(count * Float64Array.BYTES_PER_ELEMENT)),
    read: new Float64Array(new SharedArrayBuffer(Float64Array.BYTES_PER_ELEMENT))
  }
}

/** Main: hands a job over. */
export function assign ({ states, assignments }: Slots, slot: number, seq: number, job: number, attempt: number,
  deadline: number): void {
  const at = slot * FIELDS
  assignments[at] = seq
  assignments[at + 1] = job
  assignments[at + 2] = attempt
  assignments[at + 3] = deadline
  Atomics.store(states, slot, ASSIGNED)
}

/** Worker: returns the job that it was handed. */
export function assignment ({ assignments }: Slots, slot: number): Assignment {
  const at = slot * FIELDS
  return {
    seq: assignments[at] as number,
    job: assignments[at + 1] as number,
    attempt: assignments[at + 2] as number,
    deadline: assignments[at + 3] as number
  }
}

/** Worker: starts the job. Returns false if the job was revoked. */
export function start ({ states }: Slots, slot: number): boolean {
  return Atomics.compareExchange(states, slot, ASSIGNED, STARTED) === ASSIGNED
}

/**
 * Main: revokes the job, which the worker can't start any more, even in its last moments. Returns false if the job has
 * started.
 */
export function revoke ({ states }: Slots, slot: number): boolean {
  return Atomics.compareExchange(states, slot, ASSIGNED, REVOKED) === ASSIGNED
}

/** Main: reports whether the worker has started the job. */
export function isStarted ({ states }: Slots, slot: number): boolean {
  const state = Atomics.load(states, slot)
  return state === STARTED || state === ABORTED
}

/** Main: asks a job that has started to stop. */
export function abort ({ states }: Slots, slot: number): void {
  Atomics.compareExchange(states, slot, STARTED, ABORTED)
}

/** Worker: reports whether the job was asked to stop. A call takes about 8 ns. */
export function isAborted ({ states }: Slots, slot: number): boolean {
  return Atomics.load(states, slot) === ABORTED
}

/** Main: the worker is done with the slot. */
export function free ({ states }: Slots, slot: number): void {
  Atomics.store(states, slot, FREE)
}

/** A job that logs or reports in a loop would fill the memory of a main thread that can't keep up. */
const MAX_BACKLOG = 1_000

/**
 * Worker: returns whether it may post another line or progress value, or must drop it. Lines at error have half of the
 * bound for themselves. The line that says how many were dropped `must` be posted.
 */
export function mayPost ({ backlog }: Slots, kind: 'error' | 'must' | 'other' = 'other'): boolean {
  const max = kind === 'must' ? Infinity : kind === 'error' ? MAX_BACKLOG * 2 : MAX_BACKLOG
  if (Atomics.add(backlog, 0, 1) < max) return true
  Atomics.sub(backlog, 0, 1)
  return false
}

/** Main: it has received one. Worker: it could not post one. */
export function received ({ backlog }: Slots): void {
  Atomics.sub(backlog, 0, 1)
}
