/**
 * Lets a preClose hook take longer than Fastify's `pluginTimeout`, which bounds each hook. Several hooks wait in turn for the same work, each of
 * them for less than the limit, so that `lifecycle.timeout` holds in a bare close() whatever `pluginTimeout` is.
 */
import { Timers } from '../timers.ts'

/**
 * The part of `pluginTimeout` that each hook may take. Fastify starts its timer before ours, so the rest is the stall of this process between the
 * two that does no harm.
 */
const SHARE = 0.5

/** With the default `pluginTimeout`, so many hooks wait for 1.4 hours. */
const MAX_HOOKS = 1_000

/**
 * Returns the hooks, to be added one after another.
 *
 * @param work begins with the first hook
 * @param longest the time that the work may take, in ms
 * @param limit Fastify's `pluginTimeout`, in ms; 0: none
 */
export function inTurns (work: () => Promise<void>, longest: number, limit: number): Array<() => Promise<void>> {
  let running: Promise<void> | undefined
  const begin = (): Promise<void> => (running ??= work())
  if (limit === 0) return [begin]
  const turn = Math.max(1, Math.floor(limit * SHARE))
  const turns = Math.min(Math.ceil(longest / turn), MAX_HOOKS)
  return Array.from({ length: turns }, (_, index) => async () => {
    if (index === turns - 1) return begin()
    const timers = new Timers()
    try {
      // The timer is started first: what the work does at once may take long.
      const turnOver = timers.wait(turn)
      await Promise.race([begin(), turnOver])
    } finally {
      timers.clear()
    }
  })
}
