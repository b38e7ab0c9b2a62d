import { setTimeout } from 'node:timers/promises'

/** Takes `ms`, and stops when it is told to. */
export default async function job (ms, { signal }) {
  await setTimeout(ms, undefined, { signal })
  return 'done'
}
