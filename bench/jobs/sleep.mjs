const cell = new Int32Array(new SharedArrayBuffer(4))

/**
 * Occupies its thread without using the CPU, so that other programs on the machine change little.
 *
 * @param {number} ms
 */
export default function sleep (ms) {
  Atomics.wait(cell, 0, 0, ms)
}
