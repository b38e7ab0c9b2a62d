/** Watches what the first line of the page is decided by, and since when it says what it says. */
import { listen } from '../../channel-messages.ts'
import { countsOf } from '../../core/ledger/counts.ts'
import type { Sample } from '../sample.ts'
import type { Stored } from '../stored-tasks.ts'
import type { Problem, State } from './problem.ts'
import { problemsOf, serving } from './problems.ts'
import type { Who } from './who.ts'

/** What the first lines of the page say. */
export interface Status {
  state: State
  /** What is wrong, the worst first, each since an instant in ms since 1970. */
  problems: Array<Problem & { since: number }>
  /** What the page says if nothing is wrong. */
  serving: string
}

/** The seconds by which the state is decided: it goes on for so long after the last refusal, so that it doesn't flicker. */
const SECONDS = 10

export class Watch {
  readonly #server: object
  readonly #who: Who
  readonly #unlisten: () => void
  readonly #since = new Map<string, number>()
  #samples: Sample[] = []
  #stored: Stored | undefined
  #stall: { route: string, ms: number, at: number } | undefined

  constructor (server: object, who: Who) {
    this.#server = server
    this.#who = who
    this.#unlisten = listen(server, 'fastify-concurrency:loop:stalled', ({ route, ms }) => {
      if (route !== undefined) this.#stall = { route, ms, at: Date.now() }
    })
  }

  /**
   * Returns the status after another second.
   *
   * @param stored what Redis has answered last about stored tasks, if it is asked
   */
  statusAfter (sample: Sample, stored?: Stored): Status {
    this.#stored = stored
    this.#samples = [...this.#samples.slice(1 - SECONDS), sample]
    return this.statusIn(sample.phase, sample.at)
  }

  /** Returns the status of the last seconds in a phase of the application. */
  statusIn (phase: string, now = Date.now()): Status {
    if (this.#stall !== undefined && now - this.#stall.at > SECONDS * 1_000) this.#stall = undefined
    const pools = countsOf(this.#server).views()
    const problems = problemsOf({
      phase,
      samples: this.#samples,
      running: pools.flatMap(({ pool, view }) => view.running().map(({ name, runMs }) => ({ pool, name, runMs }))),
      concurrencyOf: (pool, name) => pools.find((each) => each.pool === pool)?.view.concurrencyOf(name) ?? Infinity,
      mostRefused: (subject) => this.#who.mostRefused(subject),
      stall: this.#stall,
      stored: this.#stored
    })
    const ids = new Set(problems.map(({ id }) => id))
    for (const id of this.#since.keys()) if (!ids.has(id)) this.#since.delete(id)
    // What is known of a beginning may move it back, and never forward.
    for (const { id, since = now } of problems) this.#since.set(id, Math.min(since, this.#since.get(id) ?? since))
    return {
      state: problems[0]?.state ?? 'serving',
      problems: problems.map((problem) => ({ ...problem, since: this.#since.get(problem.id) ?? now })),
      serving: serving(this.#samples)
    }
  }

  close (): void {
    this.#unlisten()
  }
}
