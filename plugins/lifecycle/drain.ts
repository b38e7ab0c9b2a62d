/**
 * Drains accepted work, phase by phase, until a deadline, and then gives up what is left. The module knows neither Fastify nor timers: the
 * deadline is a promise.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { drainPhases, givenUp, type Unfinished, type Drainable, type DrainPhase } from '../shared/drainables.ts'

export interface Drained {
  /** Requests, tasks and jobs that finished while draining. */
  completed: number
  /** The work that was unfinished at the deadline, by name. */
  unfinished: Unfinished[]
}

/** What a shutdown did: what `lifecycle.shutdown()` resolves with. */
export interface ShutdownReport extends Drained {
  /** What began the shutdown. */
  reason: string
  /** The time from the call until the app was closed. In the channel, which comes before that, until no accepted work was left. */
  durationMs: number
}

export interface DrainOptions {
  /** Resolves when time is up. */
  deadline: Promise<void>
  /** The arguments of each drainable's giveUp(), in ms. */
  grace: number
  force: number
  /** Called when a phase begins. */
  enter: (phase: DrainPhase) => void
  /** Is called for a drainable that throws, which is a defect and must not keep the others from draining. */
  onError: (error: unknown, drainable: Drainable) => void
}

/** Drains all. `drainables` is read again in each phase, since it may grow meanwhile. */
export async function drain (drainables: Iterable<Drainable>, { deadline, grace, force, enter, onError }: DrainOptions): Promise<Drained> {
  let late = false
  const timeUp = deadline.then(() => { late = true })
  /** Reads something of each drainable. One that throws is reported, and the others count. */
  const read = <T>(value: (drainable: Drainable) => T[]): T[] => [...drainables].flatMap((drainable) => {
    try {
      return value(drainable)
    } catch (error) {
      onError(error, drainable)
      return []
    }
  })
  const completed = (): number => read((drainable) => [drainable.completed ?? 0]).reduce((sum, count) => sum + count, 0)
  const before = completed()

  for (const phase of drainPhases) {
    enter(phase)
    if (!late) await Promise.race([settle(() => [...drainables].filter((each) => each.phase === phase), () => late, onError), timeUp])
  }

  const unfinished = read((drainable) => drainable.lost?.() ?? [])
  if (late) unfinished.push(...await giveUp([...drainables], grace, force, onError))
  return { completed: completed() - before, unfinished }
}

/** Closes the drainables and waits until nothing is pending. It reads `pending` again after each round, because one drainable may give work to another. */
async function settle (list: () => Drainable[], late: () => boolean, onError: DrainOptions['onError']): Promise<void> {
  const broken = new Set<Drainable>()
  for (;;) {
    const all = list().filter((drainable) => !broken.has(drainable))
    await Promise.all(all.map(async (drainable) => {
      try {
        drainable.close()
        await drainable.idle()
        // Read here too, where an error is caught.
        void drainable.pending
      } catch (error) {
        broken.add(drainable)
        onError(error, drainable)
      }
    }))
    if (late() || all.every((drainable) => broken.has(drainable) || drainable.pending === 0)) return
    // Timers must get their turn: a drainable whose idle() resolves too early would otherwise keep this loop running past the deadline.
    await turn()
  }
}

/** Gives up all at the same time: the work of a later phase must not run on during the grace period of an earlier one. */
async function giveUp (all: Drainable[], grace: number, force: number, onError: DrainOptions['onError']): Promise<Unfinished[]> {
  const lost = await Promise.all(all.map(async (drainable) => {
    try {
      drainable.close()
      if (drainable.pending === 0) return []
      givenUp.add(drainable)
      return await drainable.giveUp(grace, force)
    } catch (error) {
      onError(error, drainable)
      return []
    }
  }))
  return lost.flat()
}
