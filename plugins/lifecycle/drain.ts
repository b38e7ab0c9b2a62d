/**
 * Drains what holds accepted work, phase by phase, until a deadline; past it, gives up what is left.
 * Knows neither Fastify nor timers: the deadline is a promise.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { drainPhases, type Unfinished, type Drainable, type DrainPhase } from '../shared/drainables.ts'

export interface Drained {
  /** Requests, tasks and jobs that finished while draining. */
  completed: number
  /** What was still unfinished past the deadline, by name. */
  unfinished: Unfinished[]
}

export interface ShutdownReport extends Drained {
  reason: string
  /** From the call until nothing accepted was left. */
  durationMs: number
}

export interface DrainOptions {
  /** Resolves when time is up. */
  deadline: Promise<void>
  /** For each drainable's giveUp(), in ms. */
  grace: number
  /** Called when a phase begins. */
  enter: (phase: DrainPhase) => void
  /** A drainable that throws is a defect; it must not keep the others from draining. */
  onError: (error: unknown, drainable: Drainable) => void
}

/** `drainables` is read anew in each phase: it may grow while draining. */
export async function drain (drainables: Iterable<Drainable>, { deadline, grace, enter, onError }: DrainOptions): Promise<Drained> {
  let late = false
  const timeUp = deadline.then(() => { late = true })
  const completed = (): number => [...drainables].reduce((sum, drainable) => sum + drainable.completed, 0)
  const before = completed()

  for (const phase of drainPhases) {
    enter(phase)
    if (!late) await Promise.race([settle(() => [...drainables].filter((each) => each.phase === phase), () => late, onError), timeUp])
  }

  const unfinished = [...drainables].flatMap((drainable) => drainable.lost?.() ?? [])
  if (late) unfinished.push(...await giveUp([...drainables], grace, onError))
  return { completed: completed() - before, unfinished }
}

/** Closes and waits until nothing is pending, deciding by reading `pending` again: one drainable may feed another. */
async function settle (list: () => Drainable[], late: () => boolean, onError: DrainOptions['onError']): Promise<void> {
  const broken = new Set<Drainable>()
  for (;;) {
    const all = list().filter((drainable) => !broken.has(drainable))
    await Promise.all(all.map(async (drainable) => {
      try {
        drainable.close()
        await drainable.idle()
      } catch (error) {
        broken.add(drainable)
        onError(error, drainable)
      }
    }))
    if (late() || all.every((drainable) => broken.has(drainable) || drainable.pending === 0)) return
    // Timers must get their turn, or a drainable whose idle() lies would spin past the deadline.
    await turn()
  }
}

/** All at once: a later phase's work mustn't go on unbounded while an earlier one has its grace. */
async function giveUp (all: Drainable[], grace: number, onError: DrainOptions['onError']): Promise<Unfinished[]> {
  const lost = await Promise.all(all.map(async (drainable) => {
    try {
      drainable.close()
      return drainable.pending === 0 ? [] : await drainable.giveUp(grace)
    } catch (error) {
      onError(error, drainable)
      return []
    }
  }))
  return lost.flat()
}
