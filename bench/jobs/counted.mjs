/** Does what spin() does, and counts the work of its thread, also the work whose results nobody waits for. */
import { readlinkSync } from 'node:fs'
import { platform } from 'node:os'
import spin from './spin.mjs'

/** The id of this thread, by which /proc knows it. */
const tid = platform() === 'linux' ? Number(readlinkSync('/proc/thread-self').split('/').at(-1)) : 0
let executed = 0

/**
 * @param {number} iterations
 * @returns the thread and the iterations that it has executed so far
 */
export default function counted (iterations) {
  spin(iterations)
  executed += iterations
  return { tid, executed }
}
