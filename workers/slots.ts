/**
 * One word of shared memory for each job that a thread holds, moved by compare-and-swap: it decides between a worker that starts a
 * job and a main thread that takes it back, so that a job never runs twice and one never started isn't lost with its thread.
 *
 *   FREE -> ASSIGNED -> STARTED -> FREE          main hands it over, the worker starts it, main takes its result
 *           ASSIGNED -> REVOKED -> FREE          main took it back first: the worker skips it and says so
 *                       STARTED -> ABORTED       main wants it stopped: `context.aborted` turns true, in a synchronous loop too
 *
 * Main frees a slot only after the worker has spoken, since a message that names the slot may still be under way.
 */
export const FREE = 0
export const ASSIGNED = 1
export const STARTED = 2
export const REVOKED = 3
export const ABORTED = 4

export type Slots = Int32Array<SharedArrayBuffer>

export function createSlots (count: number): Slots {
  return new Int32Array(new SharedArrayBuffer(count * Int32Array.BYTES_PER_ELEMENT))
}

/** Main: hands a job over. */
export function assign (slots: Slots, slot: number): void {
  Atomics.store(slots, slot, ASSIGNED)
}

/** Worker: true if the job is its own to run; false if it was taken back. */
export function start (slots: Slots, slot: number): boolean {
  return Atomics.compareExchange(slots, slot, ASSIGNED, STARTED) === ASSIGNED
}

/** Main: true if the job was taken back before it started; from then on the worker can't start it, even in its last moments. */
export function revoke (slots: Slots, slot: number): boolean {
  return Atomics.compareExchange(slots, slot, ASSIGNED, REVOKED) === ASSIGNED
}

/** Main: asks a started job to stop. */
export function abort (slots: Slots, slot: number): void {
  Atomics.compareExchange(slots, slot, STARTED, ABORTED)
}

/** Worker: whether the job was asked to stop. About 8 ns. */
export function isAborted (slots: Slots, slot: number): boolean {
  return Atomics.load(slots, slot) === ABORTED
}

/** Main: the worker has spoken. */
export function free (slots: Slots, slot: number): void {
  Atomics.store(slots, slot, FREE)
}
